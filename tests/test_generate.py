"""More examples: every generator over its real protocol against local servers that fail in every way, what is kept when something dies,
and what becomes of clips that are damaged, turned, silent or endless"""
import base64, importlib.util, io, json, os, resource, signal, subprocess, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
import numpy as np, polars as pl, pytest
from PIL import Image
from spritedx import remote
from spritedx.core import SpriteDXError
from spritedx.cli import main
from spritedx.generate import Store, generate, read_examples
from spritedx.sprite import read
from spritedx.sources import make_clip
from spritedx.video import write_mp4, write_webm

key = 'sk-very-secret-0123456789'

def png(seed=0, side=64):
    b = io.BytesIO(); Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8)).save(b, 'PNG'); return b.getvalue()

def b64(b): return base64.b64encode(b).decode()

class Server:
    "A local server: `answer(self, method, path, body)` gives (status, headers, bytes or JSON), or one of `faults`"
    def __init__(self, answer, port=0):
        me,self.asked = self,[]
        class H(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            def do_GET(self):
                body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
                me.asked.append((self.command, self.path, dict(self.headers), body))
                a = answer(me, self.command, self.path, body)
                if a=='gone': self.close_connection = True; return
                if a=='slow': time.sleep(1.5); a = (200, {}, {})
                code,head,out = a; out = out if isinstance(out, bytes) else json.dumps(out).encode()
                self.send_response(code)
                for k,v in {'Content-Length': len(out), **head}.items(): self.send_header(k, str(v))
                self.end_headers(); self.wfile.write(out); self.close_connection = True
            do_POST = do_GET
            def log_message(self, *a): pass
        class S(ThreadingHTTPServer):
            allow_reuse_address,daemon_threads = True,True
            def handle_error(self, *a): pass
        self.s = S(('localhost', port), H); self.port = self.s.server_port; self.url = f'http://localhost:{self.port}'
        threading.Thread(target=self.s.serve_forever, kwargs=dict(poll_interval=.02), daemon=True).start()
    def die(self): self.s.shutdown(); self.s.server_close()
    def paths(self, method): return [p for m,p,_,_ in self.asked if m==method]

@pytest.fixture
def server():
    made = []
    def start(answer, port=0): made.append(Server(answer, port)); return made[-1]
    yield start
    for s in made: s.die()

@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path); monkeypatch.delenv('SPRITEDX_DATA', raising=False)
    for k in ('OPENAI_API_KEY', 'REPLICATE_API_TOKEN', 'COMFYUI_API_KEY'): monkeypatch.setenv(k, key)
    monkeypatch.setattr(remote.time, 'sleep', lambda s: naps.append(s)); naps.clear()
    return tmp_path

naps = []

@pytest.fixture
def sh(here, capsys):
    "`spritedx generate ...`: status, stdout and stderr lines. Whatever happens, no key is written or said, and no half file stays"
    def sh(*args, command='generate'):
        rc = main([command, *map(str, args)])
        o,e = capsys.readouterr()
        assert key not in o+e
        assert [p for p in here.rglob('.*')]==[]
        for p in here.rglob('*'):
            if p.is_file(): assert key.encode() not in p.read_bytes(), p
        return rc,o.splitlines(),e.splitlines()
    return sh

def rows(d): return {r['seed']: r for r in read_examples(d).to_dicts()}
def one_line(r, says):
    rc,o,e = r
    assert rc==1 and len(e)==1 and says in e[0], e

# --- an images endpoint

def images(*queue):
    "Answers in turn; the last one for ever"
    q = list(queue)
    return lambda s, m, p, b: q.pop(0) if len(q)>1 else q[0]

ok = (200, {}, dict(data=[dict(b64_json=b64(png()))], usage=dict(cost=.04)))

def openai(sh, s, *more, out='set'): return sh('a knight', '--with', 'openai', '--url', s.url, '--model', 'tiny', '--size', 64, '-o', out, *more)

def test_images_endpoint(sh, server):
    "What is sent, what is kept, and nothing twice"
    s = server(images(ok))
    assert openai(sh, s, '-n', 2)[0]==0
    m,path,head,body = s.asked[0]
    assert (m, path, head['Authorization'])==('POST', '/images/generations', f'Bearer {key}')
    assert {k: v for k,v in json.loads(body).items() if k!='prompt'}==dict(model='tiny', n=1, size='64x64') and 'a knight' in json.loads(body)['prompt']
    r = rows('set')[1]
    assert Path('set', r['file']).read_bytes()==png() and r['sha256']==__import__('hashlib').sha256(png()).hexdigest()
    assert (r['generator'], r['model'], r['cost'], r['synthetic'], r['width'], r['frames'], r['truth'])==('openai', 'tiny', .04, False, 64, 1, '')
    assert r['prompt']==json.loads(body)['prompt'] and r['took']>=0 and r['made'].startswith('20') and json.loads(r['params'])['body']['size']=='64x64'
    assert openai(sh, s, '-n', 3)[1][-1]=='1 made, 2 there already, 0.04 spent' and len(s.asked)==3
    assert pl.read_parquet('set/examples.parquet').sort('id').equals(read_examples('set'))

def test_busy_server(sh, server):
    "429 and 5xx are tried again, after as long as is asked for, or twice as long each time"
    s = server(images((429, {'Retry-After': '7'}, b''), (500, {}, b'<p>oops</p>'), (503, {}, b''), ok))
    assert openai(sh, s)[0]==0
    assert naps==[7, 2, 4] and len(s.asked)==4

def test_server_that_stays_down(sh, server):
    s = server(images((502, {}, b'bad gateway')))
    rc,o,e = openai(sh, s, '-n', 9)
    assert rc==1 and len(e)==3 and all('answers 502 bad gateway, 6 times' in l for l in e) and '3 faults in a row' in o[-1] and len(s.asked)==18

@pytest.mark.parametrize('answer,says', [
    ((200, {}, b'{"data": [{'), 'not JSON'), ((200, {}, dict(data=[])), 'without a picture'), ((200, {}, dict(error='x')), 'without a picture'),
    ((200, {}, dict(data=[dict(b64_json=b64(b'<html>no</html>'))])), 'neither picture nor film: <html>no'), ((200, {}, dict(data=[dict(b64_json='%%%')])), ''),
    ((200, {}, dict(data=[dict(b64_json=b64(png()[:600]))])), 'no picture that can be used'), ((200, {}, dict(data=[dict(url='ftp://etc/passwd')])), 'no web address'),
    ((400, {}, dict(error=dict(message='your prompt was refused'))), 'your prompt was refused'), ('gone', 'was lost'), ((200, {'Content-Length': 999}, dict()), 'was lost')],
    ids=['half-json', 'no-data', 'error', 'html', 'base64', 'truncated', 'file-url', 'refused', 'gone', 'cut-off'])
def test_bad_answers(sh, server, answer, says):
    "One line, no row, no file; and a second run makes it"
    s = server(images(answer, answer, ok) if isinstance(answer, str) else images(answer, ok))
    r = openai(sh, s); one_line(r, says); assert len(s.asked)==1
    assert not list(Path('set').rglob('*.png')) if Path('set').exists() else True
    assert openai(sh, server(images(ok)))[0]==0 and len(rows('set'))==1

def test_slow_server(sh, server, monkeypatch):
    monkeypatch.setattr(remote.Http, '_once', lambda self, *a, f=remote.Http._once: (setattr(self, 'timeout', .2), f(self, *a))[1])
    monkeypatch.setattr(time, 'sleep', threading.Event().wait)
    one_line(openai(sh, server(lambda *a: 'slow')), 'timed out')

def test_wrong_size_is_told(sh, server):
    rc,o,e = openai(sh, server(images((200, {}, dict(data=[dict(b64_json=b64(png(side=32)))])))))
    assert rc==0 and 'asked for 64x64' in o[1] and rows('set')[0]['notes']=='asked for 64x64'

def test_a_key_that_is_refused(sh, server):
    "The server repeats the key; we do not, and nothing more is asked"
    s = server(images((401, {}, dict(error=dict(message=f'Incorrect API key provided: {key}')))))
    r = openai(sh, s, '-n', 5); one_line(r, 'does not take the key in OPENAI_API_KEY')
    assert len(s.asked)==1 and 'stopped' in r[1][-1]

def test_a_server_that_writes_the_key_into_its_answer(sh, server):
    s = server(images((200, {}, dict(data=[dict(b64_json=b64(png()), revised_prompt=f'with {key}')], model=key))))
    assert openai(sh, s)[0]==0 and rows('set')[0]['model']=='***'

def test_no_key(sh, server, monkeypatch):
    monkeypatch.delenv('OPENAI_API_KEY')
    s = server(images((401, {}, b''))); one_line(openai(sh, s), 'set the environment variable OPENAI_API_KEY'); assert 'Authorization' not in s.asked[0][2]
    monkeypatch.setenv('OPENAI_API_KEY', key+'\nX: y'); one_line(openai(sh, s), 'what OPENAI_API_KEY holds is no key')

def test_a_key_stays_with_its_host(sh, server):
    "A result on another host, and a redirect to one, come without the key"
    far = server(lambda s, m, p, b: (200, {}, png()))
    near = server(lambda s, m, p, b: (200, {}, dict(data=[dict(url=s.url+'/r')])) if m=='POST' else (302, {'Location': far.url+'/x.png'}, b''))
    assert openai(sh, near)[0]==0
    assert near.asked[1][2]['Authorization']==f'Bearer {key}' and 'Authorization' not in far.asked[0][2]
    direct = server(lambda s, m, p, b: (200, {}, dict(data=[dict(url=far.url+'/y.png')])))
    assert openai(sh, direct, out='two')[0]==0 and 'Authorization' not in far.asked[1][2]

def test_clips_cannot_be_asked_of_an_images_endpoint(sh, server):
    s = server(images(ok)); r = openai(sh, s, '--what', 'idle,run', '--clip-size', 64); one_line(r, 'makes stills') ; assert s.asked==[]

def test_a_reference_is_an_edit(sh, server):
    Path('ref.png').write_bytes(png(5))
    s = server(images(ok)); assert openai(sh, s, '--reference', 'ref.png')[0]==0
    assert s.paths('POST')==['/images/edits'] and b'filename="reference.png"' in s.asked[0][3] and b'\x89PNG' in s.asked[0][3]

@pytest.mark.parametrize('args,n,why', [(['--max-images', 2], 2, '--max-images 2'), (['--max-cost', .1, '--price', .04], 2, '--max-cost 0.1'), (['--max-cost', 0, '--price', .04], 0, '--max-cost 0')])
def test_budgets(sh, server, args, n, why):
    s = server(images(ok)); rc,o,e = openai(sh, s, '-n', 9, *args)
    assert (rc, e, len(s.asked))==(0, [], n) and why in o[-1]

@pytest.mark.parametrize('args,says', [(['--max-cost', 1], '--price'), (['--max-images', 0], '--max-images'), (['--what', 'song'], 'song'), (['--size', 9], '16'), (['--key', 'nice'], 'hex'),
    (['--words', '{who}'], 'subject'), (['--prompts', 'no.txt'], 'no.txt'), (['--template', 'no.json'], 'no.json'), (['--url', 'http://me:pw@x'], 'holds no key'), (['--url', f'http://x/?k={key}'], 'holds no key'),
    (['--reference', 'no.png'], 'no.png'), (['-n', 0], 'variants')], ids=lambda o: str(o[0]) if isinstance(o, list) else '')
def test_bad_options(sh, server, args, says):
    s = server(images(ok)); one_line(openai(sh, s, *args), says); assert s.asked==[] and not Path('set').exists()

# --- predictions

class Predictions:
    "Replicate's protocol, with memory"
    def __init__(self, polls=2, output=None, end='succeeded'): self.n,self.polls,self.output,self.end,self.jobs = 0,polls,output,end,{}
    def __call__(self, s, m, p, b):
        if m=='POST': self.n += 1; i = f'job{self.n}'; self.jobs[i] = [0, json.loads(b)]; return 201,{},dict(id=i, status='starting', urls=dict(get=f'{s.url}/predictions/{i}'))
        if p.startswith('/files/'): return 200,{},self.output
        j = self.jobs.get(p.rpartition('/')[2])
        if j is None: return 404,{},dict(detail='no such prediction')
        j[0] += 1
        if j[0]<=self.polls: return 200,{},dict(id='x', status='processing')
        return 200,{},dict(id='x', status=self.end, error='NSFW' if self.end=='failed' else None, output=[f'{s.url}/files/1'], version='v3', metrics=dict(predict_time=2.5))

def replicate(sh, s, *more): return sh('a slime', '--with', 'replicate', '--model', 'me/film', '--url', s.url, '--what', 'idle', '--clip-size', 64, '--seconds', 1, '--fps', 8, '-o', 'set', *more)

@pytest.fixture(scope='module')
def film(tmp_path_factory):
    d = tmp_path_factory.mktemp('film')
    return write_mp4([np.full((64, 64, 3), 20*i, np.uint8) for i in range(8)], d/'x.mp4', 8).read_bytes()

def test_predictions(sh, server, film):
    p = Predictions(output=film); s = server(p); assert replicate(sh, s)[0]==0
    assert s.paths('POST')==['/models/me/film/predictions'] and s.paths('GET')==['/predictions/job1']*3+['/files/1']
    want = p.jobs['job1'][1]['input']; assert {k: v for k,v in want.items() if k!='prompt'}==dict(seed=0, width=64, height=64, num_frames=8, fps=8.)
    r = rows('set')[0]; assert (r['frames'], r['fps'], r['version'], r['what'])==(8, 8., 'v3', 'idle') and r['file'].endswith('.mp4') and json.loads(r['params'])['metrics']['predict_time']==2.5
    assert list(Path('set/tickets').iterdir())==[] and naps==[1, 1.5]

def test_a_server_that_dies_while_it_is_asked(sh, server, film):
    "The order is remembered: when the server is back the result is fetched, and not ordered again; the example made before is still there"
    p = Predictions(polls=0, output=film); s = server(p); assert replicate(sh, s)[0]==0
    p.polls = 9; die = server(lambda s2, m, q, b: p(s2, m, q, b)); port = die.port
    def dying(s2, m, q, b):
        a = p(s2, m, q, b)
        if m=='GET': threading.Thread(target=s2.die).start(); return 'gone'
        return a
    die.die(); d = server(dying, port)
    one_line(replicate(sh, d, '--seed', 1), 'localhost'); assert len(list(Path('set/tickets').iterdir()))==1 and len(rows('set'))==1 and p.n==2
    p.polls = 0; back = server(p, port)
    assert replicate(sh, back, '--seed', 1)[0]==0 and p.n==2 and back.paths('POST')==[] and set(rows('set'))=={0, 1} and list(Path('set/tickets').iterdir())==[]

def test_an_order_that_takes_longer_than_one_waits(sh, server, film):
    p = Predictions(polls=3, output=film); s = server(p)
    rc,o,e = replicate(sh, s, '--patience', 0); assert (rc, e)==(0, []) and o[-2:]==['0 made, 1 not there yet', 'what was ordered is not lost: the same command fetches it']
    assert replicate(sh, s)[0]==0 and p.n==1

def test_a_prediction_that_fails(sh, server, film):
    p = Predictions(output=film, end='failed'); s = server(p)
    one_line(replicate(sh, s), 'could not make it (failed): NSFW'); assert list(Path('set/tickets').iterdir())==[]

def test_an_order_that_the_server_has_forgotten(sh, server, film):
    p = Predictions(polls=9, output=film); s = server(p); replicate(sh, s, '--patience', 0)
    p.jobs.clear(); p.polls = 0; one_line(replicate(sh, s), 'any more')
    assert replicate(sh, s)[0]==0 and p.n==2

def test_a_film_that_is_none(sh, server, film):
    s = server(Predictions(polls=0, output=film[:200])); one_line(replicate(sh, s), 'no picture that can be used'); assert list(Path('set/tickets').iterdir())==[]

# --- ComfyUI

class Comfy:
    "ComfyUI's protocol: upload, queue, history, view"
    def __init__(self, n=1, lose=False): self.n,self.lose,self.orders,self.uploads,self.looks = n,lose,{},[],0
    def __call__(self, s, m, p, b):
        path = urlsplit(p).path
        if path=='/upload/image': self.uploads.append(b); return 200,{},dict(name='ref.png', subfolder='', type='input')
        if path=='/prompt':
            g = json.loads(b)['prompt']
            if 'KSampler' not in json.dumps(g): return 400,{},dict(error=dict(message='prompt has no outputs'), node_errors={})
            i = f'id{len(self.orders)}'; self.orders[i] = g; return 200,{},dict(prompt_id=i, number=1, node_errors={})
        if path=='/queue': return 200,{},dict(queue_running=[[0, i, {}] for i in ([] if self.lose else self.orders)], queue_pending=[])
        if path=='/view': q = parse_qs(urlsplit(p).query, keep_blank_values=True); assert q['type']==['output'] and q['subfolder']==['a b']; return 200,{},png(int(q['filename'][0][0]))
        self.looks += 1; i = path.rpartition('/')[2]
        if self.lose or self.looks<2: return 200,{},{}
        saved = [dict(filename=f'{k}.png', subfolder='a b', type='output') for k in range(self.n)]
        return 200,{},{i: dict(outputs={'1': dict(images=[dict(filename='t.png', subfolder='', type='temp')]), '9': dict(images=saved)}, status=dict(status_str='success', completed=True))}

flow = {'3': dict(class_type='KSampler', inputs=dict(seed='{seed}', steps=4, latent=['5', 0])), '5': dict(class_type='EmptyLatentImage', inputs=dict(width='{width}', height='{height}', batch_size=1)),
    '6': dict(class_type='CLIPTextEncode', inputs=dict(text='best quality, {prompt}')), '7': dict(class_type='CheckpointLoaderSimple', inputs=dict(ckpt_name='pixel.safetensors'))}

def comfy(sh, s, *more, flow=flow):
    Path('flow.json').write_text(json.dumps(flow))
    return sh('an orc', '--with', 'comfyui', '--template', 'flow.json', '--url', s.url, '--size', 64, '--clip-size', 64, '-o', 'set', *more)

def test_comfyui(sh, server):
    c = Comfy(); s = server(c); assert comfy(sh, s, '--seed', 5)[0]==0
    g = c.orders['id0']; assert (g['3']['inputs']['seed'], g['5']['inputs']['width'])==(5, 64) and g['6']['inputs']['text'].startswith('best quality, pixel art') and g['3']['inputs']['latent']==['5', 0]
    r = rows('set')[5]; assert Path('set', r['file']).read_bytes()==png(0) and r['model']=='pixel.safetensors'

def test_comfyui_clip_from_a_still(sh, server):
    "The still is made first, uploaded, and the frames become a film"
    c = Comfy(6); s = server(c); f = {**flow, '8': dict(class_type='LoadImage', inputs=dict(image='{reference}'))}
    one_line(comfy(sh, s, flow=f), '--reference'); assert c.orders=={}
    assert comfy(sh, s)[0]==0
    rc,o,e = comfy(sh, s, '--what', 'still,idle', '--seconds', 1, '--fps', 6)
    assert rc==0 and len(c.uploads)==1 and b'\x89PNG' in c.uploads[0]
    r = next(r for r in read_examples('set').to_dicts() if r['what']=='idle'); assert (r['frames'], r['fps'])==(6, 6.)

def test_comfyui_that_was_started_anew(sh, server):
    c = Comfy(lose=True); s = server(c); one_line(comfy(sh, s), 'any more'); c.lose = False
    assert comfy(sh, s)[0]==0 and len(c.orders)==2

@pytest.mark.parametrize('bad,says', [({'nodes': [], 'links': []}, 'API format'), ({'1': dict(class_type='KSampler')}, 'no slot {prompt}'), ({'1': dict(inputs='{prompt}')}, 'no outputs')])
def test_bad_workflows(sh, server, bad, says): one_line(comfy(sh, server(Comfy()), flow=bad), says)

# --- files made elsewhere

def test_folder(sh):
    Path('in').mkdir(); Path('in/red orc.png').write_bytes(png(1)); Path('in/red orc.txt').write_text('a red\norc'); Path('in/broken.png').write_bytes(png(2)[:500]); Path('in/half.png.part').write_bytes(b'x')
    rc,o,e = sh('--with', 'folder', '--from', 'in', '-o', 'set', '--licence', 'CC0-1.0')
    assert rc==1 and len(e)==1 and 'broken' in e[0]
    r, = read_examples('set').to_dicts(); assert (r['prompt'], r['subject'], r['licence'], r['source'].partition('#')[0])==('a red orc', 'red orc', 'CC0-1.0', 'red orc.png')
    Path('in/red orc.txt').write_text('another word'); Path('in/broken.png').unlink()
    assert sh('--with', 'folder', '--from', 'in', '-o', 'set')[1]==['0 made, 1 there already']

def test_watched_folder(sh, monkeypatch):
    "What appears while it is watched, once it has come to rest"
    monkeypatch.setattr(time, 'sleep', lambda s: threading.Event().wait(min(s, .05)))
    from spritedx import generate as g
    monkeypatch.setattr(g, 'Folder', __import__('functools').partial(g.Folder)); monkeypatch.setattr(g.Folder.func, 'make', g.Folder.func.make)
    Path('in').mkdir(); threading.Timer(.3, lambda: Path('in/late.png').write_bytes(png(3))).start()
    t = time.time(); rc,o,e = sh('--with', 'folder', '--from', 'in', '-o', 'set', '--watch', 2.5)
    assert (rc, e)==(0, []) and o[-1]=='1 made' and time.time()-t>2.3

# --- what is kept

def test_without_anything(sh):
    "The stand-in: stills and films with truth, labelled synthetic, the same bytes again"
    args = ['a mage', 'a slime', '--what', 'still,clip', '--size', 96, '--clip-size', 96, '--seconds', 1.5, '--fps', 8]
    assert sh(*args, '-o', 'a')[0]==0 and sh(*args, '-o', 'b')[0]==0
    a,b = read_examples('a'),read_examples('b')
    assert a['sha256'].to_list()==b['sha256'].to_list() and a['id'].to_list()==b['id'].to_list() and len(a)==4 and a['synthetic'].all() and set(a['licence'])=={'CC0-1.0'}
    for r in a.to_dicts():
        t = read(Path('a', r['truth'])); assert set(np.unique(t.pixels[0][..., 3]))=={0, 255} and max(t.size)<r['width']*3
        if r['what']=='clip': assert r['frames']==12 and abs(sum(f['duration'] for f in json.loads(Path('a', r['truth']).with_suffix('.json').read_text())['frames'])-1500)<3

child = 'import sys; from spritedx.cli import main; sys.exit(main())'
def start(*args, cwd, pre=None):
    env = {k: v for k,v in os.environ.items() if k!='SPRITEDX_DATA'}
    return subprocess.Popen([sys.executable, '-c', child, *map(str, args)], cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=pre)

def whole(d):
    "Every row has its file, unharmed"
    import hashlib
    es = Store(d).table().to_dicts()
    for r in es: assert hashlib.sha256(Path(d, r['file']).read_bytes()).hexdigest()==r['sha256'] and (not r['truth'] or Path(d, r['truth']).is_file())
    return len(es)

@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT])
def test_killed(here, how):
    "Whole examples and nothing else; the same command goes on"
    p = start('generate', 'a knight', '-n', 40, '--size', 64, '-o', 'set', cwd=here)
    while not len(list(here.glob('set/rows/[!.]*.json')))>2: assert p.poll() is None; threading.Event().wait(.05)
    p.send_signal(how); o,e = p.communicate(timeout=60)
    n = whole('set'); assert 2<n<40
    if how==signal.SIGINT: assert p.returncode==130 and 'what is made is kept' in e and len(pl.read_parquet('set/examples.parquet'))==n
    assert main(['generate', 'a knight', '-n', str(n+2), '--size', '64', '-o', 'set'])==0 and whole('set')==n+2==len(pl.read_parquet('set/examples.parquet'))

def test_full_disk(here):
    "No file may become larger than 6 kB: the writing fails as on a full disk, with one line, and what was made is kept"
    assert main(['generate', 'a slime', '--size', '32', '-o', 'set'])==0
    limit = lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000)))
    p = start('generate', 'a slime', '-n', 5, '--size', 256, '-o', 'set', cwd=here, pre=limit); o,e = p.communicate(timeout=120)
    assert p.returncode==1 and e.count('\n')==1 and 'cannot write' in e and 'stopped: the disk is full' in o
    assert whole('set')==1 and [q for q in here.rglob('.*')]==[]

def test_no_room_no_order(sh, server, monkeypatch):
    from spritedx import generate as g
    monkeypatch.setattr(g.shutil, 'disk_usage', lambda p: __import__('collections').namedtuple('u', 'total used free')(9, 9, 1<<20))
    s = server(images(ok)); r = openai(sh, s, '-n', 4); one_line(r, '1 MB are free'); assert s.asked==[]

def test_a_damaged_row_is_made_again(sh):
    sh('a slime', '-n', 2, '--size', 64, '-o', 'set'); r = sorted(Path('set/rows').iterdir())
    r[0].write_text('{'); Path('set', json.loads(r[1].read_text())['file']).unlink()
    assert sh('a slime', '-n', 2, '--size', 64, '-o', 'set')[1][-1]=='2 made' and whole('set')==2

# --- local pipelines, of random weights

@pytest.fixture(scope='session')
def tiny(tmp_path_factory):
    "A text-to-image model and a LoRA for it, as a user's folders would be"
    from spritedx.generate import _diffusers
    try: _diffusers()
    except SpriteDXError as e: pytest.skip(f'{e}; it is an extra, and large')
    import tiny_diffusers as t
    d = tmp_path_factory.mktemp('tiny'); model = t.stills(d)
    return model,t.style(model, d/'style.safetensors')

def local(sh, tiny, *more, out='set'): return sh('a knight', '--with', 'diffusers', '--model', tiny[0], '--size', 64, '--steps', 2, '--device', 'cpu', '-o', out, *more)
def picture(d, seed=0): return np.array(Image.open(Path(d, rows(d)[seed]['file'])))

def test_a_local_model_draws(sh, tiny):
    "A picture of the size asked for, by prompt and seed; the same seed gives the same bytes in another folder, another seed does not"
    rc,o,e = local(sh, tiny, '-n', 2); assert (rc, e)==(0, []), e
    r = rows('set'); assert picture('set').shape[:2]==(64, 64) and picture('set').std()>1
    p = json.loads(r[0]['params']); assert (p['pipeline'], p['num_inference_steps'], p['device'], r[0]['generator'], r[0]['synthetic'])==('StableDiffusionPipeline', 2, 'cpu', 'diffusers', False) and r[0]['version'] and 'a knight' in p['prompt']
    assert local(sh, tiny, out='again')[0]==0
    assert r[0]['sha256']==rows('again')[0]['sha256']!=r[1]['sha256']
    assert local(sh, tiny)[1][-1].startswith('0 made, 1 there')

def test_a_local_model_draws_from_a_picture(sh, tiny):
    "Image to image with the same weights: the strength decides what comes out, and so does the reference"
    Image.fromarray(np.kron(np.random.default_rng(1).integers(0, 255, (4, 4, 3), np.uint8), np.ones((16, 16, 1), np.uint8))).save('ref.png')
    for s,d in ((.5, 'near'), (1, 'far')): assert local(sh, tiny, '--reference', 'ref.png', '--strength', s, '--steps', 4, out=d)[::2]==(0, [])
    assert local(sh, tiny, '--steps', 4, out='free')[0]==0
    r = rows('near')[0]; assert json.loads(r['params'])['pipeline']=='StableDiffusionImg2ImgPipeline' and r['reference'] and picture('near').shape[:2]==(64, 64)
    assert len({rows(d)[0]['sha256'] for d in ('near', 'far', 'free')})==3

def test_a_lora_changes_the_picture(sh, tiny):
    assert local(sh, tiny, out='plain')[0]==local(sh, tiny, '--lora', tiny[1], out='styled')[0]==0
    assert (picture('plain')!=picture('styled')).mean()>.05
    r = rows('styled')[0]; assert json.loads(r['params'])['lora']==__import__('hashlib').sha256(Path(tiny[1]).read_bytes()).hexdigest()

def test_a_local_model_makes_a_film_of_a_still(sh, tiny, tmp_path_factory):
    "Image to video: as many frames as asked for, at the rate asked for, from the picture given; without one it says what it wants"
    import tiny_diffusers as t
    model = t.films(tmp_path_factory.mktemp('films'))
    ask = lambda out, *more: sh('a knight', '--with', 'diffusers', '--model', model, '--what', 'idle', '--clip-size', 64, '--seconds', .5, '--fps', 8, '--steps', 1, '--device', 'cpu', '-o', out, *more)
    one_line(ask('none'), '--reference')
    Image.fromarray(np.kron(np.random.default_rng(1).integers(0, 255, (4, 4, 3), np.uint8), np.ones((16, 16, 1), np.uint8))).save('ref.png')
    rc,o,e = ask('films', '--reference', 'ref.png'); assert (rc, e)==(0, []), e
    r = rows('films')[0]; assert (r['frames'], r['fps'], r['width'], r['what'], r['reference'])==(4, 8., 64, 'idle', 'ref.png') and json.loads(r['params'])['pipeline']=='StableVideoDiffusionPipeline'

def test_a_local_model_that_cannot(sh, tiny):
    "One line each: clips of a model of stills, a folder without a model, a LoRA that is none"
    one_line(local(sh, tiny, '--what', 'idle', '--clip-size', 64, out='a'), 'makes stills')
    Path('empty').mkdir(); one_line(local(sh, ('empty', ''), out='b'), 'empty cannot be loaded')
    Path('bad.safetensors').write_bytes(b'hello'); one_line(local(sh, tiny, '--lora', 'bad.safetensors', out='c'), 'cannot be loaded')
    assert not any(Path(d, 'rows').exists() and list(Path(d, 'rows').iterdir()) for d in 'abc')

def test_without_diffusers(sh, monkeypatch):
    "The extra is not here: one line says how to get it, and no folder is left"
    monkeypatch.setitem(sys.modules, 'diffusers', None)
    one_line(sh('a knight', '-n', 3, '--with', 'diffusers', '--model', 'some/model', '-o', 'set'), 'pip install "spritedx[diffusers]"')
