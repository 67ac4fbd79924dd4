"The house is in order: generated files match their source, the site hangs together, guardrails hold for what is shipped"
import json, os, re, shutil, subprocess, sys
from importlib.metadata import entry_points
from pathlib import Path
import polars as pl, pytest, yaml
from IPython.display import Markdown
from spritedx.core import settings
from spritedx.session import graph_meta
from spritedx.weights import weights_hash
from spritedx.ledger import complete, file_hash, log_table, new_experiment, read_cases, read_ledger, summarise
from spritedx.predict import FLOW
from spritedx.weights import model_card, weights_hash, weights_meta
import house
from house import pages

root = Path(__file__).resolve().parent.parent
nbs = root/'nbs'
skip = {'.git', '__pycache__', '.ipynb_checkpoints', '_proc', '_docs', '.pytest_cache', '.venv', 'build'}

def tracked():
    "Files that git tracks"
    out = subprocess.run(['git', 'ls-files', '-z'], cwd=root, capture_output=True, text=True, check=True).stdout
    return [root/o for o in out.split('\0') if o and (root/o).is_file()]

def cells(nb): return json.loads(nb.read_text())['cells']

@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    "The tree again, with every generated module removed and made anew, and the notebooks cleaned"
    d = tmp_path_factory.mktemp('tree')/'house'
    d.mkdir()
    for o in ('nbs', 'spritedx'): shutil.copytree(root/o, d/o, ignore=shutil.ignore_patterns(*skip, 'weights'), symlinks=True)
    for o in ('pyproject.toml', 'settings.ini', 'README.md', '_quarto.yml'): shutil.copy(root/o, d)
    for p in (d/'spritedx').glob('*.py'):
        if p.name!='__init__.py': p.unlink()
    env = {k: v for k, v in os.environ.items() if k!='IN_TEST'} | {'PYTHONPATH': str(d)}
    def run(code):
        r = subprocess.run([sys.executable, '-c', code], cwd=d, env=env, capture_output=True, text=True)
        assert r.returncode==0, r.stdout+r.stderr
    run('from nbdev.doclinks import nbdev_export; nbdev_export()')
    run('from nbdev.clean import nbdev_clean; nbdev_clean()')
    return d, run

def texts(d, pattern): return {o.relative_to(d).as_posix(): o.read_text() for o in sorted(d.rglob(pattern)) if not skip.intersection(o.parts)}

def test_library_is_exported_from_the_notebooks(copy):
    new, old = texts(copy[0]/'spritedx', '*.py'), texts(root/'spritedx', '*.py')
    assert sorted(new)==sorted(old)
    assert [o for o in new if new[o]!=old[o]]==[], 'run nbdev-export'

def test_notebooks_are_clean(copy):
    new, old = texts(copy[0]/'nbs', '*.ipynb'), texts(nbs, '*.ipynb')
    assert len(new)>5
    assert [o for o in new if new[o]!=old[o]]==[], 'run nbdev-clean'

def test_every_page_can_be_processed_for_the_site(copy):
    d, run = copy
    run('from nbdev.serve import proc_nbs; proc_nbs(n_workers=1)')
    made = {o.relative_to(d/'_proc').as_posix() for o in (d/'_proc').rglob('*.ipynb')}
    assert made=={o.relative_to(nbs).as_posix() for o in pages()}
    assert {'_quarto.yml', 'nbdev.yml', 'sidebar.yml', 'styles.css'} <= {o.name for o in (d/'_proc').iterdir()}

def test_readme_is_the_index_notebook():
    text, pictures = house.render(json.loads((nbs/'index.ipynb').read_text()))
    assert (root/'README.md').read_text()==text, 'run python tests/house.py'
    assert {k: (root/k).read_bytes() for k in pictures}==pictures

def test_nbdev_readme(copy):
    "Where Quarto is: the README that it makes has the sections of ours. Where it is not: nbdev-readme says so, and leaves ours as it is"
    d,was = copy[0],(copy[0]/'README.md').read_text()
    p = subprocess.run([sys.executable, '-c', 'from nbdev.quarto import nbdev_readme; nbdev_readme()'], cwd=d, env={k: v for k,v in os.environ.items() if k!='IN_TEST'}|{'PYTHONPATH': str(d)}, capture_output=True, text=True, timeout=200)
    now = (d/'README.md').read_text(); (d/'README.md').write_text(was)
    if shutil.which('quarto'): assert p.returncode==0 and re.findall('^#+ .*', now, re.M)==re.findall('^#+ .*', was, re.M), p.stderr
    else: assert p.returncode and 'quarto' in p.stderr and now==was

def test_readme_shows_what_its_cells_hold():
    code = dict(cell_type='code', source=['#| classes: x\n', '1+1'], outputs=[dict(data={'text/plain': ['2']})])
    hidden = dict(cell_type='code', source=['#| hide\n', 'secret'], outputs=[])
    png = dict(cell_type='code', source=['#| echo: false\n', 'draw'], outputs=[dict(data={'image/png': 'AAAA', 'text/plain': 'fig'})])
    md = dict(cell_type='markdown', source=['See [grid](12_grid.ipynb#cuts) and [log](experiments/index.ipynb), [x](https://a/b.ipynb)'])
    text, pictures = house.render(dict(cells=[code, hidden, png, md]))
    assert text==house.head+'''``` python
1+1
```

    2

![](index_files/2-0.png)

See [grid](https://spritedx.github.io/spritedx/grid.html#cuts) and [log](https://spritedx.github.io/spritedx/experiments/index.html), [x](https://a/b.ipynb)
'''
    assert pictures=={'index_files/2-0.png': b'\0\0\0'}

def test_settings_travel_with_the_package():
    assert (root/'spritedx'/'settings.ini').read_bytes()==(root/'settings.ini').read_bytes()

def strings(o):
    "Every string in nested lists and dictionaries"
    if isinstance(o, str): yield o
    for v in (o.values() if isinstance(o, dict) else o if isinstance(o, list) else ()): yield from strings(v)

def test_site_names_files_that_exist():
    site = {o: yaml.safe_load((nbs/o).read_text()) for o in ('_quarto.yml', 'sidebar.yml')}
    named = [s for s in strings(site) if re.search(r'\.(ipynb|qmd|css|scss|yml|svg|png|html)$', s) and '://' not in s]
    assert len(named)>8
    assert [s for s in named if not (nbs/s).is_file()]==[]
    assert os.readlink(nbs/'_quarto.yml')=='../_quarto.yml'

def test_sidebar_leads_to_every_page():
    assert (nbs/'sidebar.yml').read_text()==house.sidebar_text(), 'run python tests/house.py'
    linked = [s for s in strings(yaml.safe_load(house.sidebar_text())) if s.endswith('.ipynb')]
    assert sorted(linked)==[o.relative_to(nbs).as_posix() for o in pages()], 'a notebook has no floor and no section'

def dead(text, folder):
    "Links and pictures of Markdown that lead nowhere, on this site"
    links = [m[1] for m in re.finditer(r'\]\(([^)#\s]+)(?:#[^)]*)?\)', text)]+re.findall(r'(?:src|href)="([^"#]+)', text)
    return [o for o in links if not re.match(r'\w+:', o) and not (folder/o).is_file()]

def test_dead_links_are_found():
    text = '[a](00_core.ipynb#x) ![](nowhere.png) [b](https://a/b.ipynb) [c](guides/9_none.ipynb) <img src="gone.png">'
    assert dead(text, nbs)==['nowhere.png', 'guides/9_none.ipynb', 'gone.png']

@pytest.mark.parametrize('nb', pages(), ids=lambda o: str(o.relative_to(nbs)))
def test_page(nb):
    "A title and a subtitle, links that lead somewhere, outputs that are there and not too big"
    cs = cells(nb)
    first = ''.join(cs[0]['source'])
    assert re.match(r'# \S.*\n\n> \S', first), 'begins with a title and a subtitle'
    outputs = [o for c in cs if c['cell_type']=='code' for o in c['outputs']]
    text = '\n'.join([''.join(c['source']) for c in cs if c['cell_type']=='markdown']+[''.join(o.get('data', {}).get('text/markdown', '')) for o in outputs])
    assert dead(text, nb.parent)==[]
    assert len(json.dumps(outputs))<=300_000
    assert [o['evalue'] for o in outputs if o['output_type']=='error']==[]

@pytest.mark.parametrize('nb', sorted((nbs/'guides').glob('*.ipynb')), ids=lambda o: o.name)
def test_a_guide_shows_what_its_cells_give(nb):
    "Who reads it on the site sees results: a cell that ends on a value, or prints, has its output"
    def speaks(c):
        src = house.source(c); last = [l for l in src.splitlines() if l.strip()][-1]
        return not {'hide', 'eval: false'}&house.directives(src) and bool(re.match(r'print\(|[\w.]+$|\{', last))
    silent = [house.source(c) for c in cells(nb) if c['cell_type']=='code' and house.source(c).strip() and speaks(c) and not c['outputs']]
    assert silent==[] and sum(bool(c.get('outputs')) for c in cells(nb))>2

def test_no_file_tells_of_a_machine():
    "Paths of one machine, addresses of one network"
    secret = re.compile('|'.join(['/'+o+'/' for o in ('work', 'root', 'home', 'Users', 'opt/wheels')]+['file:'+'//', r'\b127\.0\.0\.1\b', r'\b10\.\d+\.\d+\.\d+\b', r'\b192\.168\.', r'\b172\.(1[6-9]|2\d|3[01])\.\d+']))
    told = []
    for p in tracked():
        try: text = p.read_text()
        except UnicodeDecodeError: continue
        if p.suffix=='.ipynb': text = '\n'.join(leaves(json.loads(text)))
        told += [f'{p.relative_to(root)}: {m[0]}' for m in secret.finditer(text)]
        if p.suffix=='.ipynb': told += [f'{p.relative_to(root)}: {m}' for m in re.findall('/'+'tmp/[a-z]\\w+', text)]
    assert told==[]

def leaves(o): return (s for s in strings(o) if not re.fullmatch(r'[A-Za-z0-9+/=\s]{200,}', s)) # pictures are not text

shipped = sorted((root/'spritedx'/'weights').glob('*'))
weights = [o for o in shipped if o.suffix=='.safetensors']
records = read_ledger(root)

def test_weights_keep_the_guardrails():
    s = settings(root/'spritedx')
    assert (s.size, s.max_weights_mb, s.max_epochs, s.max_clip_time_s)==(128, 300, 100, 10)
    assert sum(o.stat().st_size for o in shipped)<=s.max_weights_mb*1e6
    # a graph holds no weights of its own: it takes those of the file it is named after
    graphs = [o for o in shipped if o.suffix=='.onnx' and o.stat().st_size<1e5 and o.with_suffix('.safetensors') in weights]
    # or it is another form of weights that ship, and says of which
    forms = [o for o in shipped if o.suffix=='.onnx' and o not in graphs and graph_meta(o).get('weights') in map(weights_hash, weights) and graph_meta(o).get('licence')]
    cards = [w.with_suffix('.md') for w in weights]
    assert [o.name for o in shipped if o not in weights+graphs+forms+cards]==[]

def test_records_keep_the_guardrails():
    most = settings(root/'spritedx').max_epochs
    assert [(r.number, r.settings['epochs']) for r in records if r.settings.get('epochs', 0)>most]==[]

@pytest.mark.parametrize('r', records, ids=lambda r: f'{r.number:03d}')
def test_record(r):
    "Has its notebook, which shows it as it is, and its parent"
    nb = nbs/'experiments'/f'{r.number:03d}_{r.slug}.ipynb'
    shown = [''.join(o.get('data', {}).get('text/markdown', '')) for c in cells(nb) if c['cell_type']=='code' for o in c['outputs']]
    assert r._repr_markdown_() in shown, f'run {nb.name}'
    assert ''.join(cells(nb)[0]['source']).startswith(f'# {r.number:03d} ')
    if r.parent is not None: assert r.parent in {o.number for o in records}

@pytest.mark.parametrize('r', [r for r in records if r.cases_hash], ids=lambda r: f'{r.number:03d}')
def test_record_follows_from_its_cases(r):
    "Means and intervals are those of the cases that stand beside it"
    cases = read_cases(r, root)
    now = summarise(cases)
    for m in now:
        if m not in r.metrics: continue
        for c, d in now[m].items():
            assert d['n']==r.metrics[m][c]['n']
            assert [d[k] for k in ('mean', 'lo', 'hi')]==pytest.approx([r.metrics[m][c][k] for k in ('mean', 'lo', 'hi')], rel=1e-4, abs=1e-4)

def test_record_numbers_have_no_gap():
    assert [r.number for r in records]==list(range(len(records)))

def test_experiments_have_records():
    numbers = {int(o.name[:3]) for o in (nbs/'experiments').glob('[0-9]*.ipynb')}
    assert numbers=={r.number for r in records}

SMALL = {'outsider': ('outsider/ood.json', 'nets'), 'choice': ('palette/weighed.json', 'weights'), 'shift': ('palette/among.json', 'weights'), 'light': ('matte/hued.json', 'weights'), 'matte': ('matte/weighed_twice.json', 'weights'), 'matte_again': ('matte/weighed_twice.json', 'again'), 'grid': ('grid/weighed.json', 'weights'), 'whole': ('matte/whole_cut.json', 'weights'), 'key': ('matte/key.json', 'weights')} # what numpy asks: a page each that holds the fit, and no card
big = [o for o in weights if o.stem not in SMALL]

@pytest.mark.parametrize('name', SMALL)
def test_the_small_networks_are_those_that_were_measured(name):
    f,k = SMALL[name]; p = root/'spritedx'/'weights'/f'{name}.safetensors'; meta = weights_meta(p)
    assert file_hash(p)==json.loads((root/'data'/f).read_text())[k]
    assert meta['licence']=='Apache-2.0' and (root/meta['fitted']).is_file() and p.stat().st_size<3e5

@pytest.mark.parametrize('path', big, ids=lambda o: o.name)
def test_shipped_weights_are_those_of_their_record(path):
    "The latest adopted record that names the file holds its hash; the matting networks and the flow have records of their own, and the former say whose pictures they learned from"
    matting = {o['weights']: o['weights_hash'] for p in (root/'data'/'birefnet').glob('*.json') if 'weights' in (o := json.loads(p.read_text()))}
    if path.name.startswith('birefnet'):
        meta = weights_meta(path)
        assert weights_hash(path)==matting[path.name] and path.stat().st_size<25e6
        assert meta['licence']=='Apache-2.0' and 'noto-emoji' in meta['sources'] and (root/meta['record']).is_file()
        return
    if path.name==FLOW: assert json.loads((root/'data'/'flow'/'bench.json').read_text())['ships']['sha256']==file_hash(path); return
    mine = [r for r in records if r.weights==path.name and r.verdict in ('adopted', 'baseline')]
    assert mine, f'no adopted record names {path.name}'
    assert mine[-1].weights_hash==file_hash(path)

@pytest.mark.parametrize('path', big, ids=lambda o: o.name)
def test_shipped_weights_have_a_current_card(path):
    card = path.with_suffix('.md')
    assert card.is_file() and card.read_text()==model_card(path, root), f'spritedx.weights.model_card writes {card.name} anew'
    for o in ('## Intended use', '## Learned from', '## Measured', '## Limits'): assert o in card.read_text()

def test_log_page_is_made_from_the_ledger():
    shown = [''.join(o.get('data', {}).get('text/markdown', '')) for c in cells(nbs/'experiments'/'index.ipynb') if c['cell_type']=='code' for o in c['outputs']]
    want = log_table(records) if records else 'No experiment has been recorded yet.'
    assert want in shown, 'run nbs/experiments/index.ipynb'

def test_first_page_shows_the_ledger():
    "Its table is what its cell makes of the records that are there now"
    cell, = [c for c in cells(nbs/'index.ipynb') if c['cell_type']=='code' and 'read_ledger()' in house.source(c)]
    code, last = house.source(cell).rsplit('\n', 1)
    made = dict(Markdown=Markdown, read_ledger=read_ledger)
    exec(code, made)
    assert eval(last, made).data==''.join(cell['outputs'][0]['data']['text/markdown']), 'run nbs/index.ipynb, then python tests/house.py'

def test_new_experiment_runs_once_it_has_a_record(copy):
    d, run = copy
    cases = pl.DataFrame(dict(case=['a', 'b'], sprite=['x', 'y'], source='s', condition='c', exact=[.4, .6]))
    rest = dict(claim='d', data_hash='0'*64, seeds=[1], device='cpu', wall_s=1, bench=dict(manifest='0'*64))
    n = int(new_experiment('start', 'c', root=d).name[:3])
    complete(n, cases, d, verdict='baseline', **rest)
    nb = new_experiment('step', 'one thing', n, root=d)
    test = f'from nbdev.test import test_nb; assert test_nb({str(nb)!r}, skip_flags=["notest"], basepath={str(d)!r}, showerr=False)[0]'
    with pytest.raises(AssertionError): run(test) # no record yet
    complete(int(nb.name[:3]), cases, d, verdict='negative', **rest)
    run(test)

@pytest.mark.parametrize('path', sorted((root/'.github'/'workflows').glob('*.yml')), ids=lambda o: o.name)
def test_workflow_runs_commands_there_are(path):
    "YAML that parses, nbdev commands that the installed nbdev has, scripts that exist"
    jobs = yaml.safe_load(path.read_text())['jobs']
    lines = '\n'.join(s.get('run', '') for j in jobs.values() for s in j['steps'])
    scripts = {o.name for o in entry_points(group='console_scripts')}
    used = set(re.findall(r'nbdev-\w+', lines))
    assert used and used<=scripts
    assert [o for o in re.findall(r'python (\S+\.py)', lines) if not (root/o).is_file()]==[]
