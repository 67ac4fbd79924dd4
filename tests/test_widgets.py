"The widgets in a real JupyterLab in headless Chromium, by pointer and by key, and on a page without a kernel or a network"
import contextlib, json, os, re, shutil, socket, subprocess, sys, tarfile, time, urllib.request
from pathlib import Path
import numpy as np, polars as pl, pytest
from PIL import Image
from spritedx.catalogue import decode, scan_packs
from spritedx.metrics import delta_e
from spritedx.sources import make_sprite

root = Path(__file__).resolve().parent.parent
chromium = next((o for n in ('chromium', 'chromium-browser', 'google-chrome') if (o := shutil.which(n))), None)
if chromium is None: pytest.skip('no Chromium here: apt-get install chromium', allow_module_level=True)
playwright = pytest.importorskip('playwright.sync_api', reason='Playwright is not installed: pip install -e .[dev]')
args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']

@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    "One browser; what it asks of any other machine is noted and refused"
    with playwright.sync_playwright() as p:
        c = p.chromium.launch_persistent_context(tmp_path_factory.mktemp('profile'), executable_path=chromium, headless=True, args=args, viewport=dict(width=1200, height=900))
        c.set_default_timeout(60_000)
        c.asked = []
        def gate(route):
            host = re.match(r'\w+://([^/:]*)', route.request.url)
            if not host or host[1] in ('', 'localhost') or route.request.url.startswith(('data:', 'blob:')): return route.continue_()
            c.asked.append(route.request.url); route.abort()
        c.route('**/*', gate)
        yield c
        c.close()

CELLS = dict(
    first='''
import warnings; warnings.filterwarnings('ignore')
import numpy as np
from spritedx.corrupt import run
from spritedx.sources import make_sprite
from spritedx.widgets import *
sprite = np.pad(make_sprite(11, kind='mage', size=32), ((3, 3), (3, 3), (0, 0)))
recipe = [('enlarge', dict(pitch=3.6)), ('paste', dict(soften=1.2)), ('blur', dict(radius=.8))]
rough = run(sprite, recipe, 3).img
done = sprite.copy(); done[20, 20] = 0, 255, 0, 255; done[2, 2] = 255, 0, 0, 255
c = compare(rough, done, sprite, height=300)
c''',
    clip='''plain = lambda i, c: np.dstack([np.full((8, 8), 60*i*(k==c) if k<3 else 255, np.uint8) for k in range(4)])
d = compare([plain(i, 0) for i in range(4)], [plain(i, 1) for i in range(4)], height=200); d.durations = [80, 80, 80, 240]
d''',
    explore='e = explore(recipe, sprite, 3, height=260)\ne',
    palette='p = palette_editor(sprite, height=260)\np',
    gallery='''g = gallery([dict(name=f'<i>case {i}</i>', condition='a' if i<8 else 'b', before=rough, after=done, truth=sprite, exact=1-i/20, delta=float(i%7)) for i in range(15)], height=260)
g''',
    review="v = review([('mage <b>', rough, done), ('again', rough, done)], 'reviewed', licence='CC0-1.0', height=260)\nv",
    universe='''from spritedx.universe import Universe
from spritedx.writer import inscribe
u = Universe.new(':memory:', 'Machi', 3); hero = inscribe(u, sprite).subject
b = universe_browser(u, pictures={hero: sprite})
import threading
b.seen = False; b.observe(lambda _: setattr(b, 'seen', b.seen or threading.current_thread() is not threading.main_thread()), 'query')
b''')

def ask(page, code):
    "The repr of a value in the kernel, over a connection of its own"
    ask.n = getattr(ask, 'n', 0)+1
    return page.evaluate('([code, n]) => window.sdxAsk(code, n)', [code, ask.n])

KERNEL = '''async ([root, kernel]) => {
  const ws = new WebSocket(`${root.replace('http', 'ws')}api/kernels/${kernel}/channels`), wait = new Map()
  await new Promise(f => ws.onopen = f)
  ws.onmessage = m => { if (typeof m.data !== 'string') return; const d = JSON.parse(m.data), w = wait.get(d.parent_header && d.parent_header.msg_id)
    if (w && d.header.msg_type === 'execute_reply') { wait.delete(d.parent_header.msg_id); const v = d.content.user_expressions.v; w(v && v.status === 'ok' ? v.data['text/plain'] : 'ERROR ' + JSON.stringify(d.content)) } }
  window.sdxAsk = (code, n) => new Promise(f => { const id = `ask${n}`; wait.set(id, f); setTimeout(f, 20000, 'no answer')
    ws.send(JSON.stringify({ header: { msg_id: id, msg_type: 'execute_request', username: '', session: 'ask', version: '5.3', date: new Date().toISOString() }, parent_header: {}, metadata: {}, channel: 'shell', buffers: [],
      content: { code: '', silent: true, store_history: false, allow_stdin: false, stop_on_error: false, user_expressions: { v: code } } })) })
}'''

def write_notebook(d, sources):
    cell = lambda s, i: dict(cell_type='code', id=f'c{i}', source=s.strip(), metadata={}, outputs=[], execution_count=None)
    nb = dict(cells=[cell(s, i) for i,s in enumerate(sources)], metadata=dict(kernelspec=dict(name='python3', display_name='Python 3', language='python')), nbformat=4, nbformat_minor=5)
    (d/'lab.ipynb').write_text(json.dumps(nb))

@contextlib.contextmanager
def served(d, *app):
    "A Jupyter server over a folder, of its own settings: its address"
    with socket.socket() as s: s.bind(('localhost', 0)); port = s.getsockname()[1]
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(root), os.environ.get('PYTHONPATH', '')]), 'JUPYTER_CONFIG_DIR': str(d/'.config'), 'JUPYTER_RUNTIME_DIR': str(d/'.run'), 'JUPYTER_DATA_DIR': str(d/'.data'), 'IPYTHONDIR': str(d/'.ipython'), 'SPRITEDX_DATA': str(d)}
    with open(d/'log', 'w') as log:
        p = subprocess.Popen([sys.executable, '-m', *app, '--no-browser', '--allow-root', f'--port={port}', '--ip=localhost', '--IdentityProvider.token=', '--ServerApp.password=', '--ServerApp.disable_check_xsrf=True'], cwd=d, env=env, stdout=log, stderr=log)
        try:
            end = time.time()+60
            while True:
                try: urllib.request.urlopen(f'http://localhost:{port}/api/status', timeout=5); break
                except OSError:
                    assert p.poll() is None and time.time()<end, (d/'log').read_text()[-3000:]
                    time.sleep(.2)
            yield f'http://localhost:{port}/'
        finally:
            p.terminate()
            try: p.wait(30)
            except subprocess.TimeoutExpired: p.kill(); p.wait()

def run_all(browser, base, path):
    "A page in which the notebook was opened and every cell run"
    page = browser.new_page()
    page.errors = []; page.on('pageerror', lambda e: page.errors.append(e.stack or str(e)))
    page.on('console', lambda m: page.errors.append(m.text) if m.type=='error' else None)
    page.goto(base+path)
    page.wait_for_selector('.jp-Notebook .jp-Cell')
    page.add_locator_handler(page.locator('.jp-Dialog .jp-mod-accept'), lambda b: b.click()) # a kernel may have to be chosen
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status=idle]', timeout=60_000)
    page.wait_for_timeout(500); page.locator('.jp-Notebook .jp-Cell').first.hover()
    page.wait_for_function("jupyterapp.shell.currentWidget.context.sessionContext.session?.kernel?.status=='idle'", timeout=60_000)
    page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_selector('.sdx-compare[data-ready=true]', timeout=90_000)
    page.evaluate(KERNEL, [base, json.load(urllib.request.urlopen(base+'api/kernels'))[0]['id']])
    return page

@pytest.fixture(scope='module')
def lab(browser, tmp_path_factory):
    "JupyterLab with a notebook of one cell a widget, every cell run"
    d = tmp_path_factory.mktemp('lab'); write_notebook(d, CELLS.values())
    with served(d, 'jupyterlab', '--LabApp.expose_app_in_browser=True', '--LabApp.news_url=', '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate') as base:
        page = run_all(browser, base, 'lab/tree/lab.ipynb?reset'); page.folder = d
        yield page
        page.close()

def ours(errors):
    "Errors of our views, whose code stands in a blob; those of the application are its own"
    return [e for e in errors if re.search('blob:|sdx|spritedx|anywidget|widget sync', e, re.I)]

def view(lab, name):
    "A view, brought into sight"
    cell = lab.locator(f'.jp-Notebook .jp-Cell').nth(list(CELLS).index('first' if name=='compare' else name))
    at = cell.locator('.sdx-compare' if name=='clip' else f'.sdx-{name}').first
    cell.scroll_into_view_if_needed(); at.wait_for()
    cell.locator(f'.sdx-{"compare" if name=="clip" else name}[data-ready]').first.wait_for()
    at.scroll_into_view_if_needed()
    return at

def settled(lab, code, want, s=10):
    "Wait until the kernel sees a value"
    end = time.time()+s
    while (got := ask(lab, code))!=repr(want) and time.time()<end: time.sleep(.05)
    assert got==repr(want)

def canvas(at, page):
    "What a canvas holds, (h, w, 4) uint8"
    w,h,b = at.locator('canvas').first.evaluate('''async c => { await new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let s = ''; for (let i = 0; i < d.length; i += 8192) s += String.fromCharCode(...d.subarray(i, i + 8192)); return [c.width, c.height, btoa(s)] }''')
    import base64
    return np.frombuffer(base64.b64decode(b), np.uint8).reshape(h, w, 4)

def drag(page, at, a, b, **kw):
    box = at.bounding_box()
    (x,y),(X,Y) = ((box['x']+p[0]*box['width'], box['y']+p[1]*box['height']) for p in (a, b))
    page.mouse.move(x, y); page.mouse.down(); page.mouse.move((x+X)/2, (y+Y)/2); page.mouse.move(X, Y); page.mouse.up()

sprite = np.pad(make_sprite(11, kind='mage', size=32), ((3, 3), (3, 3), (0, 0)))

def test_compare_is_dragged(lab):
    "The split follows the pointer, in the picture and in Python"
    c = view(lab, 'compare'); screen = c.locator('.sdx-canvas')
    before = canvas(c, lab)
    drag(lab, screen, (.5, .3), (.25, .3))
    settled(lab, 'round(c.split, 2)', .25)
    after = canvas(c, lab)
    w = before.shape[1]
    assert (before[:, int(.3*w):int(.48*w)]!=after[:, int(.3*w):int(.48*w)]).any(-1).mean()>.05 # was before, is after
    assert (before[:, int(.55*w):]==after[:, int(.55*w):]).all()
    ask(lab, "c.set_trait('split', .5)")

def test_pixels_are_crisp(lab):
    "At eight device pixels a native pixel, each is one flat square of its colour"
    ask(lab, "[c.set_trait(k, v) for k, v in dict(left='truth', right='truth', camera=[20., 20., 8.], split=0., backdrop='magenta', cursor=[]).items()]")
    c = view(lab, 'compare'); lab.wait_for_timeout(150)
    x = canvas(c, lab); h,w = x.shape[:2]
    ox,oy = w//2-20*8,h//2-20*8
    x0,y0 = max(0, -(-(-ox)//8)) if ox<0 else 0,max(0, -(oy//8))
    n = 0
    for j in range(y0+1, min(sprite.shape[0], (h-oy)//8-1)):
        for i in range(x0, min(sprite.shape[1], (w-ox)//8-1)):
            cell = x[oy+8*j:oy+8*j+8, ox+8*i:ox+8*i+8, :3].reshape(-1, 3)
            want = sprite[j, i, :3] if sprite[j, i, 3] else (255, 0, 255)
            if ox+8*i<4: continue # the line of the split
            assert (cell==want).all(), (i, j, cell[0], want)
            n += 1
    assert n>700
    ask(lab, "[c.set_trait(k, v) for k, v in dict(left='before', right='after', camera=[], split=.5, backdrop='checkerboard').items()]")

def test_compare_zooms_and_pans(lab):
    c = view(lab, 'compare'); screen = c.locator('.sdx-canvas')
    screen.click(position=dict(x=30, y=30)); lab.keyboard.press('0')
    settled(lab, 'c.camera', [])
    for _ in range(3): lab.keyboard.press('+')
    settled(lab, 'len(c.camera)', 3); lab.wait_for_timeout(200)
    fit = float(c.locator('.sdx-zoom').inner_text().split()[0])
    x,y,z = json.loads(ask(lab, 'c.camera')); assert round(z*100)==round(fit)
    drag(lab, screen, (.1, .5), (.1, .3))
    lab.wait_for_timeout(200)
    X,Y,Z = json.loads(ask(lab, 'c.camera'))
    assert Z==z and abs((Y-y)-.2*screen.bounding_box()['height']/z)<1 and X==x
    lab.mouse.wheel(0, -120); lab.wait_for_timeout(200)
    assert json.loads(ask(lab, 'c.camera'))[2]>z
    lab.keyboard.press('m'); settled(lab, 'c.mode', 'side by side')
    assert c.locator('.sdx-tag').first.inner_text().split()==['before', '|', 'after', '|', 'truth']
    lab.keyboard.press('s'); lab.keyboard.press('0')

def test_a_clip_plays_and_is_scrubbed(lab):
    "Each place of the slider shows its frame of both pictures; played, the frames follow one another at their own pace, and stop where they are stopped"
    d = view(lab, 'clip'); screen = d.locator('.sdx-canvas'); slider,count = d.get_by_label('Frame'),d.locator('.sdx-count')
    shown = {}
    for i in (0, 2, 3, 1):
        slider.evaluate("(r, i) => { r.value = i; r.dispatchEvent(new Event('input')) }", i); settled(lab, '(d.frame, d.playing)', (i, False))
        assert count.inner_text()==f'{i+1} / 4'
        shown[i] = canvas(d, lab)
    for i,x in shown.items(): # frame i is one plain colour to the left of the split, another to the right
        h,w = x.shape[:2]; assert [x[h//2, int(k*w)].tolist() for k in (.45, .55)]==[[60*i, 0, 0, 255], [0, 60*i, 0, 255]]
    screen.focus(); lab.keyboard.press('.'); settled(lab, 'd.frame', 2); lab.keyboard.press(','); lab.keyboard.press(','); settled(lab, 'd.frame', 0)
    lab.keyboard.press(','); settled(lab, 'd.frame', 3) # and around
    seen = d.evaluate("""async root => { const c = root.querySelector('.sdx-count'), out = [[c.textContent, performance.now()]], o = new MutationObserver(() => { if (c.textContent !== out.at(-1)[0]) out.push([c.textContent, performance.now()]) })
        o.observe(c, { childList: true, characterData: true, subtree: true }); root.querySelector('[aria-label=Play]').click(); while (out.length < 8) await new Promise(f => setTimeout(f, 20)); o.disconnect(); return out }""")
    at = [int(t.split()[0])-1 for t,_ in seen]
    assert all(b==(a+1)%4 for a,b in zip(at, at[1:])), at
    took = {i: [u-t for (a,t),(_,u) in zip(seen[1:], seen[2:]) if int(a.split()[0])-1==i] for i in (0, 3)}
    assert min(took[0])>=75 and min(took[3])>=235 and max(took[0])<min(took[3]), took # ms; 80 and 240 are meant
    settled(lab, 'd.playing', True)
    d.get_by_label('Pause').click(); settled(lab, 'd.playing', False); stopped = count.inner_text(); settled(lab, 'd.frame', int(stopped.split()[0])-1)
    lab.wait_for_timeout(500); assert count.inner_text()==stopped
    x = canvas(d, lab); h,w = x.shape[:2]; assert x[h//2, int(.45*w)].tolist()==[60*(int(stopped.split()[0])-1), 0, 0, 255]
    d.screenshot(path=lab.folder/'clip.png')

def test_keys_stay_in_the_widget(lab):
    "x, d, b and the others act on the view; in JupyterLab they would cut, delete and add cells"
    c = view(lab, 'compare'); n = lab.locator('.jp-Notebook .jp-Cell').count()
    c.locator('.sdx-canvas').focus()
    lab.keyboard.press('x'); settled(lab, '(c.left, c.right)', ('after', 'before'))
    lab.keyboard.press('x'); lab.keyboard.press('d'); lab.keyboard.press('d'); settled(lab, '(c.mode, c.left, c.right)', ('difference', 'after', 'truth'))
    lab.keyboard.press('s'); settled(lab, '(c.mode, c.left)', ('split', 'before'))
    lab.keyboard.press('k'); lab.keyboard.press(']'); settled(lab, '(c.backdrop, round(c.split, 2))', ('black', .52))
    lab.keyboard.press('k'); lab.keyboard.press('k'); lab.keyboard.press('k'); lab.keyboard.press('['); lab.keyboard.press('?')
    assert c.locator('.sdx-help').is_visible()
    lab.keyboard.press('?')
    assert lab.locator('.jp-Notebook .jp-Cell').count()==n
    c.locator('.sdx-handle').focus(); lab.keyboard.press('ArrowLeft'); settled(lab, 'round(c.split, 2)', .48)

def test_a_pixel_is_read(lab):
    "By key and by pointer: place, colours, CIEDE2000 as spritedx.metrics has it"
    c = view(lab, 'compare')
    ask(lab, "[c.set_trait(k, v) for k, v in dict(left='after', right='truth', cursor=[19, 20], camera=[]).items()]")
    c.locator('.sdx-canvas').focus(); lab.keyboard.press('ArrowRight')
    settled(lab, 'c.cursor', [20, 20])
    told = c.locator('.sdx-told').inner_text()
    want = float(delta_e(np.array([[0, 255, 0]], np.uint8), sprite[20, 20][None, :3])[0])
    assert 'x 20 y 20' in ' '.join(told.split()) and 'rgba(0, 255, 0, 255)' in told and f'rgba({", ".join(map(str, sprite[20, 20]))})' in told
    assert f'{want:.2f}'==re.search(r'ΔE ([\d.]+)', told)[1]
    ask(lab, "c.set_trait('cursor', [2, 2])"); c.locator('text=only in one').last.wait_for()
    ask(lab, "[c.set_trait(k, v) for k, v in dict(left='before', right='after', cursor=[]).items()]")
    c.screenshot(path=lab.folder/'compare.png')

def test_delta_e_is_that_of_the_library(lab):
    "A thousand pairs of colours, through the function that the view uses"
    g = np.random.default_rng(0); p,q = g.integers(0, 256, (2, 1000, 3), dtype=np.uint8)
    q[:300] = np.clip(p[:300].astype(int)+g.integers(-6, 7, (300, 3)), 0, 255); q[300:340] = p[300:340]; p[340:360] = p[340:360, :1]
    src = (root/'spritedx'/'static'/'pixels.js').read_text()
    got = lab.evaluate('([src, p, q]) => { const f = new Function(src + ";return deltaE")(); return p.map((a, i) => f(a, q[i])) }', [src, p.tolist(), q.tolist()])
    assert np.abs(np.array(got)-delta_e(p, q)).max()<.01

def turned(e, label, values, pause=25):
    "Move a slider through values, one every `pause` ms: how long that took, ms"
    return e.get_by_label(label, exact=True).evaluate("""async (r, [vs, pause]) => { const t = performance.now()
        for (const v of vs) { r.value = v; r.dispatchEvent(new Event('input')); await new Promise(f => setTimeout(f, pause)) }
        return performance.now() - t }""", [values, pause])

def test_explore_is_live(lab):
    "A slider turned 40 times a second: pictures come back all the while, never more of them than were asked for, and the last is that of the last number"
    e = view(lab, 'explore')
    was = canvas(e, lab); n = int(ask(lab, 'e.answered'))
    ask(lab, "setattr(e, 'drawn', []) or e.observe(lambda c: e.drawn.append(dict(e.steps)['blur']['radius']), 'pictures')")
    turned(e, 'blur radius', [5*i/60 for i in range(61)])
    settled(lab, "dict(e.steps)['blur']['radius']", 5); settled(lab, 'e.answered==e.asked', True)
    drawn = json.loads(ask(lab, 'e.drawn'))
    assert 3<len(drawn)<=61 and drawn==sorted(drawn) and drawn[-1]==5, drawn
    assert any(0<r<5 for r in drawn)
    assert len(drawn)<=int(ask(lab, 'e.answered'))-n<=61 # an ask for what is drawn already is answered without a picture
    lab.wait_for_timeout(300)
    assert (canvas(e, lab)!=was).any(-1).mean()>.03
    e.locator('[data-op=paste] input[type=checkbox]').uncheck(); settled(lab, "'paste' in dict(e.steps)", False)
    e.get_by_label('Add an operation').select_option('posterise'); settled(lab, "'posterise' in dict(e.steps)", True)
    e.get_by_label('seed', exact=True).evaluate("r => { r.value = 9; r.dispatchEvent(new Event('input')) }"); settled(lab, 'e.seed', 9)
    settled(lab, 'bool((e.damaged==run(sprite, e.steps, 9).img).all())', True)
    e.get_by_label('blur radius', exact=True).focus(); lab.keyboard.press('Home'); settled(lab, "dict(e.steps)['blur']['radius']", 0)
    lab.keyboard.press('ArrowRight'); settled(lab, "round(dict(e.steps)['blur']['radius'], 2)", .05)
    lab.keyboard.press('?'); e.locator('.sdx-ops .sdx-help').wait_for(); lab.keyboard.press('?')
    e.screenshot(path=lab.folder/'explore.png')

@pytest.mark.skipif('SPRITEDX_MEASURE' not in os.environ, reason='a measurement, not a test: SPRITEDX_MEASURE=data/explore.json pytest tests/test_widgets.py -k updates_are_measured')
def test_updates_are_measured(lab, browser, tmp_path):
    "What nbs/50_widgets.ipynb says of the cost of `explore`, a scene of about 640 px: processor time an update of the kernel and of a view on a page of its own, which other work on the machine does not change"
    import psutil
    kernel = psutil.Process(int(ask(lab, "__import__('os').getpid()"))); spent = lambda: 1000*sum(kernel.cpu_times()[:2])
    ask(lab, "setattr(e, 'sprite', np.pad(make_sprite(5, kind='knight', size=48), ((8, 8), (8, 8), (0, 0))))")
    ask(lab, "setattr(e, 'recipe', [{**o, 'kw': {**o['kw'], **({'pitch': 10.} if o['op']=='enlarge' else {})}} for o in explore('on magenta', e.sprite, 2).recipe])")
    e,rows = view(lab, 'explore'),[]; e.get_by_label('relevel sigma', exact=True).wait_for()
    for label,values in (('relevel sigma', [.0004*i for i in range(120)]), ('enlarge jitter', [.001*i for i in range(120)]), ('seed', list(range(120)))):
        n,was = int(ask(lab, 'e.answered')),spent()
        turned(e, label, values, 50); settled(lab, 'e.answered==e.asked', True)
        k = int(ask(lab, 'e.answered'))-n
        rows.append(dict(turned=label, scene=ask(lab, "'x'.join(map(str, e.damaged.shape[1::-1]))").strip("'"), updates=k, kernel_ms=round((spent()-was)/k, 1)))
    ask(lab, "e.save('explore.html')"); html = (lab.folder/'explore.html').read_text().replace('function renderExplore({ model, el }) {', 'function renderExplore({ model, el }) { window.model = model;'); (tmp_path/'e.html').write_text(html)
    page = browser.new_page(); page.goto((tmp_path/'e.html').as_uri()); page.wait_for_selector('.sdx-compare[data-ready=true]')
    c = browser.new_cdp_session(page); c.send('Performance.enable', dict(timeDomain='threadTicks')); task = lambda: 1000*next(m['value'] for m in c.send('Performance.getMetrics')['metrics'] if m['name']=='TaskDuration')
    draw = "async n => { for (let i = 0; i < n; i++) { model.set('pictures', { ...model.get('pictures') }); await new Promise(f => setTimeout(f, 60)); await new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f))) } }"
    page.evaluate(draw, 2); was = task(); page.evaluate(draw, 20); view_ms = round((task()-was)/20, 1); page.close()
    Path(os.environ['SPRITEDX_MEASURE']).write_text(json.dumps([dict(r, view_ms=view_ms) for r in rows], indent=1)+'\n')

def test_palette_is_edited_by_key(lab):
    p = view(lab, 'palette'); n = int(ask(lab, 'len(p.palette)'))
    a,b = json.loads(ask(lab, 'p.colors[:2]').replace("'", '"'))
    p.locator('.sdx-swatch').first.focus(); lab.keyboard.press('Space'); lab.keyboard.press('ArrowRight'); lab.keyboard.press('m')
    settled(lab, 'len(p.palette)', n-1)
    assert ask(lab, "'#'+bytes(p.sprite.pixels[p.index==0][0, :3].tolist()).hex()")==repr(b)
    lab.keyboard.press('l'); settled(lab, 'p.locked[1]', True)
    lab.keyboard.press('ArrowRight'); lab.keyboard.press('Space'); lab.keyboard.press('ArrowLeft'); lab.keyboard.press('Space'); lab.keyboard.press('ArrowRight'); lab.keyboard.press('m')
    assert 'is locked' in p.locator('.sdx-told').inner_text()
    was = canvas(p, lab)
    p.get_by_label('New colour').evaluate("c => { c.value = '#00ff00'; c.dispatchEvent(new Event('change')) }")
    settled(lab, "'00ff00' in p.palette.hex", True)
    now = canvas(p, lab)
    assert ((now[..., :3]==(0, 255, 0)).all(-1).sum()>0) and (was!=now).any()
    lab.keyboard.press('Escape'); p.locator('.sdx-swatch').nth(1).focus(); lab.keyboard.press('u'); settled(lab, "'00ff00' in p.palette.hex", False)
    p.get_by_label('Number of colours').evaluate("c => { c.value = 8; c.dispatchEvent(new Event('change')) }")
    settled(lab, 'len(p.palette)', 8); assert ask(lab, f"'{b[1:]}' in p.palette.hex")=='True' # it was locked
    assert ask(lab, 'p.sprite.colors')=='8'
    p.screenshot(path=lab.folder/'palette.png')

def test_gallery_opens_the_worst(lab):
    g = view(lab, 'gallery')
    cards = g.locator('.sdx-card')
    cards.nth(11).wait_for(); lab.wait_for_function("document.querySelectorAll('.sdx-card[data-drawn]').length==12")
    assert [cards.nth(i).get_attribute('data-case') for i in range(3)]==['14', '13', '12'] and '<i>case 14</i>' in cards.nth(0).inner_text()
    g.get_by_label('Metric').select_option('delta'); settled(lab, 'g.metric', 'delta')
    assert cards.nth(0).get_attribute('data-case')=='6'
    g.get_by_label('Condition').select_option('b'); settled(lab, 'g.only', 'b')
    assert [cards.nth(i).get_attribute('data-case') for i in range(cards.count())]==ask(lab, '[str(i) for i in g.order()]').replace("'", '').strip('[]').split(', ')
    cards.nth(0).focus(); lab.keyboard.press('ArrowRight'); lab.keyboard.press('Enter')
    second = int(ask(lab, 'g.order()[1]')); settled(lab, 'g.opened', second)
    g.locator('.sdx-compare[data-ready=true]').wait_for()
    lab.keyboard.press('n'); settled(lab, 'g.opened', int(ask(lab, 'g.order()[2]')))
    g.screenshot(path=lab.folder/'gallery.png')
    lab.keyboard.press('Escape'); settled(lab, 'g.opened', -1)
    assert g.locator('.sdx-compare').count()==0

def test_review_goes_round(lab):
    "Erase one pixel, recolour another, accept: the catalogue holds exactly that as training truth"
    v = view(lab, 'review')
    screen = v.locator('.sdx-canvas'); screen.focus()
    def to(x, y): # the cursor starts in the middle
        cx,cy = sprite.shape[1]//2,sprite.shape[0]//2
        lab.keyboard.press('ArrowLeft') # sets it
        for k,n in (('ArrowRight' if x>=cx else 'ArrowLeft', abs(x-cx)), ('ArrowDown' if y>=cy else 'ArrowUp', abs(y-cy))):
            for _ in range(n): lab.keyboard.press(k)
    to(20, 20)
    lab.keyboard.press('e'); lab.keyboard.press('Enter')
    lab.keyboard.press('z'); lab.keyboard.press('y') # undone and done again
    lab.keyboard.press('p'); lab.keyboard.press('z'); lab.keyboard.press('y')
    lab.keyboard.press('f'); v.get_by_label('Colour', exact=True).evaluate("c => { c.value = '#0102fe'; c.dispatchEvent(new Event('input')) }")
    screen.focus()
    for _ in range(18): lab.keyboard.press('ArrowLeft')
    for _ in range(18): lab.keyboard.press('ArrowUp')
    lab.keyboard.press('Enter') # (2, 2) was red
    lab.keyboard.press('a')
    settled(lab, "v.verdicts.get('mage <b>')", 'accepted'); settled(lab, 'v.index', 1)
    want = sprite.copy(); want[20, 20] = 0; want[2, 2] = 1, 2, 254, 255
    df = scan_packs(lab.folder/'reviewed')
    assert df.select('split', 'licence', 'source').rows()==[('train', 'CC0-1.0', 'review')]
    assert (decode(df['png'][0])==want).all()
    png, = (lab.folder/'reviewed'/'truth').glob('*.png'); assert (np.array(Image.open(png))==want).all()
    assert pl.read_parquet(lab.folder/'reviewed'/'sprites.parquet')['changed'][0]==2
    lab.wait_for_function("document.querySelector('.sdx-review').dataset.ready=='again'")
    v.screenshot(path=lab.folder/'review.png')
    screen.focus(); lab.keyboard.press('r'); settled(lab, "v.verdicts.get('again')", 'rejected')
    assert len(scan_packs(lab.folder/'reviewed'))==1 and json.loads((lab.folder/'reviewed'/'verdicts.json').read_text())['again']=='rejected'

def test_a_brush_paints_alpha(lab):
    "A stroke of the pointer erases what it passes over, without gaps"
    v = view(lab, 'review'); screen = v.locator('.sdx-canvas')
    screen.focus(); lab.keyboard.press('N'); settled(lab, 'v.index', 0); lab.wait_for_function("document.querySelector('.sdx-review').dataset.ready=='mage <b>'")
    lab.keyboard.press('0'); lab.keyboard.press('e')
    drag(lab, screen, (.6, .55), (.9, .55))
    lab.keyboard.press('a'); settled(lab, "v.said.startswith('mage <b>: accepted, ')", True)
    truth = decode(scan_packs(lab.folder/'reviewed')['png'][0])
    rows = np.flatnonzero(((truth[..., 3]==0)&(sprite[..., 3]>0)).sum(1)>3)
    assert len(rows)==1 and not truth[rows[0], :, 3].any() or (truth[rows[0], 12:, 3]==0).all()

def test_universe_is_walked(lab):
    b = view(lab, 'universe')
    link = b.locator('.sdx-page .sdx-link').first; name,id = link.inner_text(),link.get_attribute('data-id')
    link.click(); settled(lab, 'b.who', id)
    b.locator('h3', has_text=name).wait_for()
    b.get_by_label('Back').click(); settled(lab, 'b.who==hero', True); b.locator(f'.sdx-page[data-who="{ask(lab, "hero")[1:-1]}"]').wait_for()
    b.get_by_label('Search').fill(name[:4]); settled(lab, 'b.query', name[:4]); settled(lab, f"'{id}' in [h['id'] for h in b.hits]", True)
    b.locator(f'.sdx-list[data-query="{name[:4]}"] [data-id="{id}"]').wait_for()
    assert [h.get_attribute('data-id') for h in b.locator('.sdx-list button').all()]==json.loads(ask(lab, "[h['id'] for h in b.hits]").replace("'", '"'))
    b.get_by_label('Kind').select_option('group'); settled(lab, "b.kind, [h['kind'] for h in b.hits if h['kind']!='group']", ('group', []))
    b.get_by_label('Search').fill(''); settled(lab, "{h['kind'] for h in b.hits}", {'group'}); b.get_by_label('Kind').select_option('everybody'); settled(lab, "len({h['kind'] for h in b.hits})>1", True)
    b.get_by_label('Search').fill(name); settled(lab, "b.hits[0]['id']", id)
    b.get_by_label('Search').press('ArrowDown'); lab.keyboard.press('Enter'); b.locator(f'.sdx-page[data-who="{id}"]').wait_for(); settled(lab, 'b.who', id)
    assert ask(lab, "b.seen or not getattr(get_ipython().kernel, '_supports_kernel_subshells', False)")=='True' # what the view says comes in a thread that is not that of the cells
    b.screenshot(path=lab.folder/'universe.png')

def test_nothing_went_wrong_and_nothing_was_fetched(lab, browser):
    assert ours(lab.errors)==[]
    assert [u for u in browser.asked if not u.startswith('ws')]==[]

def test_a_view_leaves_nothing_behind(lab):
    "Output cleared: listeners, timers and elements are gone, and a trait that changes reaches nobody"
    view(lab, 'compare'); lab.locator('.jp-Notebook .jp-Cell').nth(0).locator('.jp-InputArea-editor').click()
    lab.evaluate("window.sdxFrames = 0; const r = requestAnimationFrame; window.requestAnimationFrame = f => { if (String(f).includes('this.now()')) window.sdxFrames++; return r(f) }; 0")
    ask(lab, "c.set_trait('mode', 'blink')"); lab.wait_for_timeout(1200)
    assert lab.evaluate('window.sdxFrames')>=2
    lab.evaluate("void jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    lab.wait_for_function("!document.querySelector('.sdx')"); lab.wait_for_timeout(500) # JupyterLab lays the notebook out anew
    lab.evaluate('window.sdxFrames = 0'); ask(lab, "c.set_trait('split', .1)"); lab.wait_for_timeout(1200)
    assert lab.evaluate('window.sdxFrames')<=1 # of ours: JupyterLab asks for frames of its own

@pytest.mark.parametrize('dark', [False, True], ids=['light', 'dark'])
def test_a_page_compares_without_kernel_and_network(browser, tmp_path, dark):
    "As a file, at the width of a phone: the split is dragged, keys work, text stays text"
    from spritedx.widgets import Compare, compare
    big = sprite.repeat(4, 0).repeat(4, 1)
    w = compare(big, sprite, height=260)
    w.pictures = {'before': w.pictures['before'], '</script><img src=x onerror=alert(1)>': w.pictures['after']}
    w.right = list(w.pictures)[1]
    page = browser.new_page(); page.set_viewport_size(dict(width=390, height=700)); page.emulate_media(color_scheme='dark' if dark else 'light')
    errors = []; page.on('pageerror', lambda e: errors.append(str(e))); page.on('dialog', lambda d: errors.append('a dialog'))
    browser.asked.clear()
    page.goto(w.save(tmp_path/'page.html').as_uri()); page.wait_for_selector('.sdx-compare[data-ready=true]')
    a = canvas(page.locator('.sdx-compare'), page)
    drag(page, page.locator('.sdx-canvas'), (.5, .5), (.2, .5))
    assert abs(float(page.locator('.sdx-handle').get_attribute('aria-valuenow'))-20)<=1
    page.locator('.sdx-canvas').focus(); page.keyboard.press('k'); page.keyboard.press('+')
    assert page.get_by_label('Backdrop').input_value()=='black'
    assert (canvas(page.locator('.sdx-compare'), page)!=a).any()
    assert page.evaluate('document.documentElement.scrollWidth<=innerWidth')
    page.screenshot(path=tmp_path/'page.png'); page.close()
    assert errors==[] and browser.asked==[]

def test_heat_map_and_blink(browser, tmp_path):
    "Where two pictures are the same the map is flat, the more they differ the hotter, and what only one has is magenta; blinking, each is seen in turn"
    from spritedx.widgets import compare
    a = np.zeros((8, 8, 4), np.uint8); a[...] = 100, 100, 100, 255; b = a.copy(); b[2, 2, :3] = 108; b[2, 5, :3] = 0, 255, 0; b[5, 5] = 0
    w = compare(a, b, height=200); w.mode,w.camera = 'difference',[4., 4., 16.]
    page = browser.new_page(); page.goto(w.save(tmp_path/'w.html').as_uri()); page.wait_for_selector('.sdx-compare[data-ready=true]')
    def cell(x, i, j): h,v = x.shape[:2]; return tuple(x[h//2+16*(i-4)+8, v//2+16*(j-4)+8, :3].tolist())
    x = canvas(page.locator('.sdx-compare'), page); flat,little,much,one = (cell(x, *o) for o in ((1, 1), (2, 2), (2, 5), (5, 5)))
    assert flat==cell(x, 6, 6) and len({flat, little, much, one})==4 and one==(255, 0, 255) and sum(flat)<sum(little)<sum(much), (flat, little, much, one)
    page.locator('.sdx-canvas').focus(); page.keyboard.press('b'); seen = set()
    for _ in range(40): seen.add(cell(canvas(page.locator('.sdx-compare'), page), 2, 5)); page.wait_for_timeout(50)
    assert seen=={(100, 100, 100), (0, 255, 0)}
    page.close()

def test_the_first_page_has_a_comparison_to_drag(browser, tmp_path):
    "What the notebook of the home page holds, without a kernel, as Quarto puts it on the site"
    nb = json.loads((root/'nbs'/'index.ipynb').read_text())
    html, = [h for c in nb['cells'] for o in c.get('outputs', []) if 'sdx-alone' in (h := ''.join(o.get('data', {}).get('text/html', '')))]
    (tmp_path/'home.html').write_text('<!doctype html><meta charset="utf-8">'+html); browser.asked.clear()
    page = browser.new_page(); errors = []; page.on('pageerror', lambda e: errors.append(str(e)))
    page.goto((tmp_path/'home.html').as_uri()); page.wait_for_selector('.sdx-compare[data-ready=true]')
    before = canvas(page.locator('.sdx-compare'), page); drag(page, page.locator('.sdx-canvas'), (.5, .5), (.2, .5))
    assert abs(float(page.locator('.sdx-handle').get_attribute('aria-valuenow'))-20)<=1 and (before!=canvas(page.locator('.sdx-compare'), page)).any(-1).mean()>.01
    page.close(); assert errors==[] and browser.asked==[]

def test_a_notebook_7_compares(browser, tmp_path):
    "The same widget in Notebook 7: seen, dragged, by key, and nothing in the console"
    pytest.importorskip('notebook', reason='Notebook 7 is not installed: pip install -e .[dev]')
    write_notebook(tmp_path, [CELLS['first']]); browser.asked.clear()
    with served(tmp_path, 'notebook', '--JupyterNotebookApp.expose_app_in_browser=True') as base:
        page = run_all(browser, base, 'notebooks/lab.ipynb'); n = page.locator('.jp-Notebook .jp-Cell').count()
        c = page.locator('.sdx-compare'); c.scroll_into_view_if_needed(); screen = c.locator('.sdx-canvas')
        before = canvas(c, page); drag(page, screen, (.5, .3), (.25, .3)); settled(page, 'round(c.split, 2)', .25)
        w = before.shape[1]; assert (before[:, int(.3*w):int(.48*w)]!=canvas(c, page)[:, int(.3*w):int(.48*w)]).any(-1).mean()>.05
        screen.focus(); page.keyboard.press('x'); settled(page, '(c.left, c.right)', ('after', 'before'))
        page.keyboard.press('d'); page.keyboard.press('d'); settled(page, 'c.mode', 'difference')
        assert page.locator('.jp-Notebook .jp-Cell').count()==n # x and d d cut and delete nothing
        page.screenshot(path=tmp_path/'notebook.png'); errors = page.errors; page.close()
    assert ours(errors)==[] and [u for u in browser.asked if not u.startswith('ws')]==[]

# ---- VS Code: the widget manager of its Jupyter extension in a page of ours, with this process for a kernel; the editor is not run.
# (VS Code's notebook page has no Content-Security-Policy unless `notebook.experimental.enableCsp` is set; one without blob: keeps anywidget itself from loading.)

VSCODE = '''<!doctype html><meta charset="utf-8">
<body><div id="out"></div><script src="/require.js"></script><script type="module">
import { activate } from '/ipywidgets.js'
const told = window.told = [], views = {}
const signal = { connect() { return true }, disconnect() { return true } }
const buffers = bs => bs.map(b => Uint8Array.from(atob(b), c => c.charCodeAt(0)).buffer)
const base64 = b => { const v = b instanceof ArrayBuffer ? new Uint8Array(b) : new Uint8Array(b.buffer, b.byteOffset, b.byteLength); let s = ''; for (const x of v) s += String.fromCharCode(x); return btoa(s) }
const comms = {}, comm = id => comms[id] ||= { commId: id, targetName: 'jupyter.widget', onMsg: null, onClose: null, open() {}, close() {}, isDisposed: false,
  send(data, meta, bs) { window.sdxHeard(id, data, (bs || []).map(base64)); const sent = { msg: { header: { msg_id: 'm' } }, onIOPub: null, onReply: null, done: Promise.resolve() }
    setTimeout(() => sent.onIOPub?.({ header: { msg_type: 'status' }, parent_header: { msg_id: 'm' }, content: { execution_state: 'idle' } })); return sent } }
let opened
const kernel = new Proxy({ id: 'k', clientId: 'c', username: 'u', status: 'idle', isDisposed: false, info: Promise.resolve({}), registerCommTarget(n, f) { opened = f }, createComm: (n, id) => comm(id), requestCommInfo: async () => ({ content: { comms: {} } }), hasPendingInput: false },
  { get: (t, k) => k in t ? t[k] : /^(status|connectionStatus|iopubMessage|unhandledMessage|anyMessage|disposed|pendingInput)/.test(String(k)) ? signal : undefined })
requirejs.config({ baseUrl: '/' })
const loader = { widgetsRegisteredInRequireJs: new Set(), loadWidgetScript: async () => {}, successHandler: (c, m) => told.push(`loaded ${m} ${c}`), errorHandler: (c, m, v, e) => told.push(`failed ${m} ${e}`) }
activate(); vscIPyWidgets8.load()
const manager = new vscIPyWidgets.WidgetManager(kernel, document.getElementById('out'), loader, m => told.push(m))
window.sdxOpen = (id, state, paths, bs) => opened(comm(id), { header: { msg_id: id, msg_type: 'comm_open' }, parent_header: {}, metadata: { version: '2.1.0' }, channel: 'iopub', content: { comm_id: id, target_name: 'jupyter.widget', data: { state, buffer_paths: paths } }, buffers: buffers(bs) })
window.sdxShow = async id => { const m = await manager.get_model(id), v = await manager.create_view(m, { el: document.getElementById('out') }); await manager.display_view({}, v, { node: document.getElementById('out') }) }
window.sdxSay = (id, state) => comms[id].onMsg({ header: { msg_id: 'x', msg_type: 'comm_msg' }, parent_header: {}, metadata: {}, channel: 'iopub', content: { comm_id: id, data: { method: 'update', state, buffer_paths: [] } }, buffers: [] })
window.sdxReady = true
</script>'''

@pytest.fixture(scope='module')
def vscode(tmp_path_factory):
    "The widget manager that VS Code's Jupyter extension ships, and require.js, both MIT, from npm; anywidget's own script, which VS Code asks the kernel's machine for"
    d = tmp_path_factory.mktemp('vscode')
    if shutil.which('npm') is None: pytest.skip('no npm here to bring the widget manager of VS Code')
    for name in ('@vscode/jupyter-ipywidgets8@1.0.9', 'requirejs@2.3.8'):
        r = subprocess.run(['npm', 'pack', '--silent', name], cwd=d, capture_output=True, text=True, timeout=120)
        if r.returncode: pytest.skip(f'npm does not bring {name}')
    out = {'/': ('text/html', VSCODE.encode())}
    for name,path in (('/ipywidgets.js', 'package/dist/ipywidgets.js'), ('/require.js', 'package/require.js')):
        for t in d.glob('*.tgz'):
            with tarfile.open(t) as tar:
                if path in tar.getnames(): out[name] = 'text/javascript',tar.extractfile(path).read()
    out['/anywidget.js'] = 'text/javascript',(Path(sys.prefix)/'share/jupyter/nbextensions/anywidget/index.js').read_bytes()
    return out

def test_the_widget_manager_of_vscode_compares(browser, vscode):
    "Drawn, dragged, turned by key and in Python, with nothing fetched"
    import base64
    from ipywidgets.widgets.widget import _remove_buffers
    from spritedx.widgets import compare
    w = compare(sprite.repeat(4, 0).repeat(4, 1)[..., [2, 1, 0, 3]], sprite, height=300); names = {x.model_id: x for x in (w, w.layout)}
    page = browser.new_page(); errors,bad = [],[]
    def heard(f): # in Python
        for _ in range(100):
            page.wait_for_timeout(100)
            if f(): return
        assert f()
    page.on('pageerror', lambda e: errors.append(str(e))); page.on('console', lambda m: errors.append(m.text) if m.type=='error' else None)
    page.expose_function('sdxHeard', lambda id, data, bs: names[id]._handle_msg(dict(content=dict(data=dict(data, buffer_paths=data.get('buffer_paths', []))), buffers=[base64.b64decode(b) for b in bs])))
    def give(route):
        path = '/'+route.request.url.split('/', 3)[3]
        if path in vscode: route.fulfill(content_type=vscode[path][0], body=vscode[path][1])
        else: bad.append(route.request.url); route.abort()
    page.route('**/*', give)
    page.goto('http://localhost/'); page.wait_for_function('window.sdxReady')
    for id,x in reversed(names.items()):
        state,paths,bs = _remove_buffers(x.get_state())
        page.evaluate('([id, s, p, b]) => sdxOpen(id, s, p, b)', [id, state, paths, [base64.b64encode(b).decode() for b in bs]])
    page.evaluate('id => sdxShow(id)', w.model_id)
    c = page.locator('.sdx-compare[data-ready=true]'); c.wait_for()
    before = canvas(c, page); drag(page, page.locator('.sdx-canvas'), (.5, .3), (.25, .3)); heard(lambda: abs(w.split-.25)<.01)
    n = before.shape[1]; assert (before[:, int(.3*n):int(.48*n)]!=canvas(c, page)[:, int(.3*n):int(.48*n)]).any(-1).mean()>.05
    page.locator('.sdx-canvas').focus(); page.keyboard.press('k'); heard(lambda: w.backdrop=='black')
    page.evaluate('([id, s]) => sdxSay(id, s)', [w.model_id, dict(backdrop='magenta')]); page.wait_for_function("document.querySelector('[aria-label=Backdrop]').value=='magenta'")
    assert 'loaded anywidget AnyModel' in page.evaluate('told') and bad==[] and errors==[], (page.evaluate('told'), bad, errors)
    page.close()

def test_every_key_that_is_listed_is_used(browser, tmp_path):
    "What `?` shows in each view: the view takes that key, and nothing goes wrong; keys of the browser itself apart"
    from spritedx.universe import Universe
    from spritedx.widgets import compare, explore, gallery, palette_editor, review, universe_browser
    from spritedx.writer import inscribe
    u = Universe.new(':memory:', 'Machi', 3); hero = inscribe(u, sprite).subject
    views = dict(compare=(compare(sprite, sprite, sprite), 'canvas', ''), gallery=(gallery([dict(name=str(i), before=sprite, after=sprite, exact=.1*i) for i in range(3)]), '.sdx-card', 'Enter'),
        explore=(explore([('blur', {})], sprite), '.sdx-ops input[type=range]', 'Tab ← → PageUp PageDown Home End Space'), palette=(palette_editor(sprite), '.sdx-swatch', ''),
        review=(review([('a', sprite, sprite), ('b', sprite, sprite)], tmp_path), 'canvas', ''), universe=(universe_browser(u, pictures={hero: sprite}), '.sdx-list button', 'Enter Tab'))
    (tmp_path/'all.html').write_text('<!doctype html><meta charset="utf-8">'+''.join(v.to_html() for v,*_ in views.values()))
    page = browser.new_page(); errors = []; page.on('pageerror', lambda e: errors.append(str(e))); page.goto((tmp_path/'all.html').as_uri())
    for n in views: page.locator(f'.sdx-{n}[data-ready]').first.wait_for()
    page.evaluate("window.addEventListener('keydown', e => { window.used = e.defaultPrevented }, true); HTMLInputElement.prototype.showPicker = () => {}; 0") # after ours; the browser's own picker would keep the keys
    also = {'arrows': ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown'], '↓': ['ArrowDown'], '↑': ['ArrowUp'], 'space': ['Space'], '−': ['-']}
    unused = []
    for n,(_,at,native) in views.items():
        listed = re.search(r'_HELP = (\[\[.*?\]\])\n', (root/'spritedx'/'static'/f'{n}.js').read_text(), re.S)[1]
        keys = [k for ks,_ in re.findall(r"\['([^']+)', '([^']+)'\]", listed) for k in (['Shift+'+k for k in also['arrows']] if ks=='Shift arrows' else [b for a in ks.split() for b in also.get(a, [a])]) if k not in native.split()]
        assert '?' in keys
        for k in keys:
            page.locator(f'.sdx-{n} {at}').first.focus(); page.evaluate('window.used = null'); page.keyboard.press(k)
            if not page.evaluate('window.used'): unused.append((n, k))
    page.close()
    assert errors==[] and unused==[], (errors, unused)
