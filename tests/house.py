"""What is made from the notebooks beside the library: `python tests/house.py` writes README.md and the site's sidebar.

README.md comes from nbs/index.ipynb (nbdev-readme does the same, but through Quarto), nbs/sidebar.yml from the notebooks
that are there. The tests hold both to their source."""
import base64, json, re, sys
from pathlib import Path
import yaml

root = Path(__file__).resolve().parent.parent
site = 'https://spritedx.github.io/spritedx/'
head = '<!-- Made from nbs/index.ipynb by tests/house.py: edit the notebook -->\n\n'

def source(cell): return ''.join(cell['source'])

def directives(src): return {m[1] for m in re.finditer(r'^#\| *([\w-]+(?:: *\w+)?)', src, re.M)}

def link(m):
    "A link to a notebook goes to its page on the site"
    path, frag = m[2], m[3] or ''
    page = re.sub(r'(^|/)\d+[a-zA-Z0-9]*_([^/]*)$', r'\1\2', path.lower()).removesuffix('.ipynb')
    return f'[{m[1]}]({site}{page}.html{frag})'

def picture(data, name, pictures):
    "Keep a PNG aside and refer to it"
    pictures[name] = base64.b64decode(''.join(data))
    return f'![]({name})'

def output(o, name, pictures):
    "One output of a code cell: its richest form that Markdown can show"
    d = o.get('data', {})
    if 'sdx-alone' in ''.join(d.get('text/html', '')): return '' # a view is for the site
    if 'image/png' in d: return picture(d['image/png'], name, pictures)
    if 'text/markdown' in d: return ''.join(d['text/markdown'])
    text = ''.join(o.get('text', d.get('text/plain', ''))).rstrip()
    return '\n'.join('    '+s if s else '' for s in text.split('\n'))

def render(nb):
    "(Markdown, {path: PNG}) of a notebook"
    parts, pictures = [], {}
    for i, c in enumerate(nb['cells']):
        src = source(c)
        if c['cell_type']=='markdown': parts.append(re.sub(r'\[([^\]]*)\]\(([^)#:]+\.ipynb)(#[^)]*)?\)', link, src))
        if c['cell_type']!='code' or 'hide' in directives(src): continue
        if 'echo: false' not in directives(src):
            parts.append('``` python\n'+re.sub(r'^#\|.*\n', '', src, flags=re.M).strip()+'\n```')
        parts += [output(o, f'index_files/{i}-{j}.png', pictures) for j, o in enumerate(c['outputs'])]
    return head+'\n\n'.join(p.strip('\n') for p in parts)+'\n', pictures

floors = ['Ground', 'Pictures and data', 'Networks', 'Learning', 'Products', 'Faces']

def pages(folder=root/'nbs'):
    "Every notebook that becomes a page, by path"
    return sorted(o for o in folder.rglob('*.ipynb') if not any(p[0] in '._' for p in o.relative_to(folder).parts))

def sidebar(names):
    "The navigation over pages with these paths: home, guides, the library by floor, experiments, architecture"
    def section(title, chosen): return [dict(section=title, contents=chosen)] if chosen else []
    contents = [dict(text='Home', href='index.ipynb')]
    contents += section('Guides', [o for o in names if o.startswith('guides/')])
    for i, title in enumerate(floors): contents += section(title, [o for o in names if re.match(rf'{i}\d_', o)])
    contents += section('Experiments', sorted((o for o in names if o.startswith('experiments/')), key=lambda o: (o!='experiments/index.ipynb', o)))
    contents += [dict(text='Architecture', href='architecture.ipynb')]
    return dict(website=dict(sidebar=dict(contents=contents)))

def sidebar_text():
    names = [o.relative_to(root/'nbs').as_posix() for o in pages()]
    return '# Made by tests/house.py from the notebooks that are there\n'+yaml.safe_dump(sidebar(names), sort_keys=False)

def main():
    text, pictures = render(json.loads((root/'nbs'/'index.ipynb').read_text()))
    (root/'README.md').write_text(text)
    for old in (root/'index_files').glob('*.png'): old.unlink()
    for name, png in pictures.items():
        (root/name).parent.mkdir(exist_ok=True)
        (root/name).write_bytes(png)
    (root/'nbs'/'sidebar.yml').write_text(sidebar_text())

if __name__=='__main__': sys.exit(main())
