"The road without torch: what it imports, what it needs, and that it is the same road; graphs as the command writes them"
import json, os, subprocess, sys
from pathlib import Path
import numpy as np, polars as pl, pytest, torch
from PIL import Image
from spritedx import key, pipeline, predict, runtime
from spritedx.acnet import ACNet, ACSpec
from spritedx.birefnet import BiRefNet, BiRefSpec
from spritedx.cli import main
from spritedx.corrupt import corrupt
from spritedx.flow import Flow, FlowNet
from spritedx.ledger import checkout, paired
from spritedx.predict import weights_path
from spritedx.session import graph_meta, graph_path, read_tensors, restore
from spritedx.sources import make_sprite
from spritedx.sprite import load_sprite
from spritedx.core import SpriteDXError
from spritedx.metrics import score
from spritedx.weights import load_weights, save_weights, weights_hash, weights_meta

heavy = {'torch', 'fastai', 'scipy', 'skimage', 'polars', 'fastcore', 'av', 'pymatting', 'tqdm', 'matplotlib', 'networkx', 'safetensors', 'onnx'}
hero = np.pad(make_sprite(9, kind='knight', size=40), ((4, 4), (4, 4), (0, 0)))

@pytest.mark.parametrize('condition', ['on magenta', 'on scenes', 'soft matte'])
def test_the_same_road_in_a_process_of_its_own(tmp_path, condition):
    "Only numpy, Pillow and onnxruntime can be imported; under 300 MB resident at 1024 px; the picture is the one that torch gives"
    bad = corrupt(hero, condition, 3).img
    k = 1024/max(bad.shape[:2])
    big = np.asarray(Image.fromarray(bad).resize([round(k*n) for n in bad.shape[1::-1]], Image.NEAREST))
    Image.fromarray(big).save(tmp_path/'big.png')
    m = runtime.fresh(tmp_path/'big.png', tmp_path/'new.png')
    assert not heavy&set(m['others']), m
    assert m['peak_mb']<300, m
    a,b = load_sprite(tmp_path/'new.png').pixels,pipeline.clean(big).pixels
    gap = np.abs(a.astype(int)-b)
    assert a.shape==b.shape and (gap[..., 3]>0).mean()<.02
    # the scene is full of colours: what the palette takes for one of them may be rounded otherwise
    assert (gap.max(-1)>(2 if condition=='on scenes' else 0)).mean()<.02
    assert load_sprite(tmp_path/'new.png').meta['network'] is True, 'the network took no part'

def test_the_network_is_shown_quarters(monkeypatch):
    "Beside each cell's colour, from a grid and on a key colour or with a matte of its own; older weights are not"
    seen,was = [],predict.restore
    monkeypatch.setattr(predict, 'restore', lambda frames, *a, **k: (seen.append(frames[0]), was(frames, *a, **k))[1])
    for condition in ('on magenta', 'soft matte'):
        pipeline.clean(corrupt(hero, condition, 5).img); x = seen.pop()
        assert x.shape[-1]==20 and (x[..., 4:]!=np.tile(x[..., :4], 4)).any(-1).mean()>.05
        bare = predict.restore([x])[0],predict.restore([x[..., :4]])[0]; seen.clear()
        assert np.abs(bare[0]-bare[1]).max()>.02, 'quarters change nothing'

def test_a_band_from_left_to_right_is_no_sprite(monkeypatch):
    "Whatever the small network makes of it"
    monkeypatch.setattr(key, 'opinion', lambda *a: np.float32(-9))
    a = np.full((40, 60, 4), 200, np.uint8); a[..., 3] = 0; a[15:25, :, 3] = 255; a[10:15, :, 3] = a[25:30, :, 3] = 100 # as much unsure as sure
    assert key.is_whole(a, a)
    for change in ((np.s_[:], np.s_[:8]), ([*range(10, 15), *range(25, 28)], np.s_[:]), (np.s_[:], np.s_[24:30])): b = a.copy(); b[(*change, 3)] = 0; assert not key.is_whole(b, b) # ends before a side; unsure a fifth as often as sure; two that jut in from left and right

def test_a_matte_is_weighed_twice(monkeypatch):
    "The second network is asked what the first made of it, and the mean of both decides"
    asked = []
    def says(name, f): asked.append((name, f)); return np.full(f['guess'].shape, 5 if name=='matte.safetensors' else -9, np.float32)
    monkeypatch.setattr(key, 'opinion', says)
    x = np.full((24, 24, 4), 90, np.uint8); x[..., 3] = 0; x[4:20, 4:20, 3] = 255; x[2, 2, 3] = 30
    out = key.weighed_matte(x, x, np.concatenate([x, np.tile(x, 4)], -1))
    (one, f), (two, g) = asked
    assert (one, two)==('matte.safetensors', 'matte_again.safetensors') and 'first' not in f
    assert np.array_equal(g['first'], f['guess']) and (g['guess']>4).all() and (f['guess']<0).any()
    assert np.array_equal(out, x), 'more than most would have turned'
    y = key.weighed_matte(x, x, x, most=9.); assert not (y[..., 3]>127).any()

def test_a_magenta_part_on_magenta_is_given_back():
    "The key takes it; the network, sure of it, gives it back"
    given = np.full((24, 24, 4), (255, 0, 255, 0), np.uint8); given[4:20, 4:20] = (90, 60, 40, 255); given[8:16, 8:16] = (150, 20, 150, 0)
    done = given.copy(); done[4:20, 4:20, 3] = 255
    r = pipeline.Report(); r.matte,r.key = 'key','ff00ff'
    assert np.array_equal(pipeline._matted((given, done), r)[..., 3], done[..., 3])
    done[8:16, 8:16, 3] = 0; assert np.array_equal(pipeline._matted((given, done), r)[..., 3], given[..., 3])

def test_what_is_blocked_is_blocked(tmp_path):
    "The check can fail: a road that needs more says what is missing"
    Image.fromarray(hero).save(tmp_path/'x.png')
    code = runtime._probe.replace('from spritedx import runtime', 'import scipy\nfrom spritedx import runtime')
    r = subprocess.run([sys.executable, '-c', code, str(tmp_path/'x.png'), '', str(Path(runtime.__file__).parent.parent)], capture_output=True, text=True)
    assert r.returncode and "No module named 'scipy'" in r.stderr

def test_command_of_its_own(tmp_path, capsys):
    (tmp_path/'in').mkdir()
    Image.fromarray(hero).save(tmp_path/'in'/'a.png'); (tmp_path/'in'/'b.png').write_text('no picture')
    assert runtime.main([str(tmp_path/'in'), '-o', str(tmp_path/'out')])==1
    o,e = capsys.readouterr()
    assert o.count('\n')==1 and e.count('\n')==1 and 'b.png' in e
    assert np.array_equal(load_sprite(tmp_path/'out'/'a.png').pixels, hero)
    assert runtime.main([str(tmp_path/'in'/'a.png'), '-o', str(tmp_path/'in')])==1 and 'overwritten' in capsys.readouterr().err

def test_the_graph_that_ships_is_that_of_the_weights_that_ship():
    "Its spec is theirs, so that it fits; it holds none of them; and no path of a machine"
    meta = graph_meta(graph_path())
    assert meta['spec']==weights_meta(weights_path())['spec'], 'make it anew: spritedx export --onnx spritedx/weights/acnet.onnx --bare'
    assert set(o.removesuffix('.T') for o in json.loads(meta['outside']).values())<=set(read_tensors(weights_path())[0])
    b = graph_path().read_bytes()
    assert len(b)<200_000 and b'site-packages' not in b and b'.py' not in b

def test_the_key_goes_from_where_it_shows_through():
    "A dark gap that is mostly magenta goes, glass keeps what is not magenta in it, and nothing of which the network is sure changes"
    given = np.full((24, 24, 4), (255, 0, 255, 0), np.uint8); given[4:20, 4:20] = (60, 60, 60, 255)
    given[8:16, 8:10] = (200, 6, 200, 255); given[8:16, 13:15] = (115, 40, 115, 255)
    done = given.copy(); done[8:16, 8:15, 3] = 150; done[8:16, 10:13, 3] = 255
    r = pipeline.Report(); r.matte,r.key = 'key','ff00ff'; out = pipeline._matted((given, done), r)
    assert not out[8:16, 8:10].any() and np.ptp(out[8:16, 13:15, :3].astype(int), -1).max()<4 and (out[8:16, 13:15, 3]==255).all()
    done[8:16, 8:15, 3] = 255; assert np.array_equal(pipeline._matted((given, done), r), done)

def test_a_graph_in_eight_bits_ships_only_if_it_is_as_good(tmp_path):
    "By the bound of its page; then its header says whose weights it holds, and it cleans as the float graph does, but for a few pixels"
    here = checkout()/'data'/'int8'; best = json.loads((here/'int8.json').read_text())['best']
    cases = pl.read_parquet(here/'cases.parquet').filter(pl.col('set')=='valid')
    holds = paired(*(cases.filter(pl.col('graph')==k) for k in (best, 'float'))).to_dicts()[0]['lo']>-.005
    assert weights_path().with_name('acnet-int8.onnx').is_file()==holds, 'make it anew, or take it away: nbs/experiments/int8.ipynb'
    if not holds: return
    meta = graph_meta(graph_path('acnet-int8.onnx'))
    assert meta['weights']==weights_hash(weights_path()) and meta['bits']=='8', 'make it anew: nbs/experiments/int8.ipynb'
    assert b'site-packages' not in (b := graph_path('acnet-int8.onnx').read_bytes()) and len(b)<.7*weights_path().stat().st_size
    for condition in ('on magenta', 'soft matte'):
        bad = corrupt(hero, condition, 5).img
        a,b,c = (pipeline.clean(bad, weights=w, **o) for w,o in (('acnet-int8.onnx', {}), (None, {}), (None, dict(network=False))))
        assert a.meta['network'] and a.pixels.shape==b.pixels.shape
        assert score(b.pixels, a.pixels).exact>.9>score(b.pixels, c.pixels).exact

def test_clean_takes_a_graph(tmp_path, capsys):
    "The ordinary command, told to use one"
    Image.fromarray(corrupt(hero, 'soft matte', 3).img).save(tmp_path/'x.png')
    for name,more in dict(a=['--weights', 'acnet.onnx'], b=[]).items(): assert main(['clean', str(tmp_path/'x.png'), '-o', str(tmp_path/f'{name}.png'), *more])==0
    a,b = (load_sprite(tmp_path/f'{o}.png') for o in 'ab')
    assert a.meta['network'] and a.pixels.shape==b.pixels.shape and (a.pixels!=b.pixels).any(-1).mean()<.02
    assert main(['clean', str(tmp_path/'x.png'), '-o', str(tmp_path/'c.png'), '--weights', str(tmp_path/'none.onnx')])==1
    assert 'no ONNX graph' in capsys.readouterr().err

def stirred(net):
    torch.manual_seed(1)
    with torch.no_grad():
        for p in net.parameters(): p.copy_((p+.05*torch.randn_like(p)).half())
    return net.eval()

def test_export_writes_a_flow_that_answers_as_in_torch(tmp_path, capsys):
    "The whole command, and the graph at work: same start, same sprite"
    w = tmp_path/'f.safetensors'
    net = stirred(FlowNet(ACNet(ACSpec((8, 16), (1, 1), (1,), heads=2, inp=8, time=8)), Flow('frame')))
    save_weights(w, net, licence='CC0-1.0')
    assert main(['export', '--onnx', str(tmp_path/'f.onnx'), '--weights', str(w), '--steps', '2'])==0
    assert 'flow' in (o := capsys.readouterr().out) and 'equal to torch within' in o
    meta = graph_meta(tmp_path/'f.onnx')
    assert (meta['kind'], meta['steps'], meta['licence'])==('flow', '2', 'CC0-1.0')
    bad = corrupt(hero, 'soft matte', 3).img[:32, :40]
    a,b,c = (restore([bad], str(tmp_path/'f.onnx'), seed=s)[0] for s in (3, 3, 4))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert main(['export', '--onnx', str(tmp_path/'f.txt')])==1 and 'call it f.onnx' in capsys.readouterr().err

def test_export_knows_a_matting_network(tmp_path, capsys, monkeypatch):
    "Weights as `spritedx train birefnet` writes them, with no word about what they are; the graph that is written answers as torch does, or is not written"
    from spritedx import onnx_export
    w,net = tmp_path/'m.safetensors',stirred(BiRefNet(BiRefSpec((4, 8, 8, 8), (1, 1, 1, 1), (), 0, inner=4, aspp=4, kernels=(3,), ref=2, gdt=2, head=2)))
    save_weights(w, net, kind='birefnet', size=96, licence='CC0-1.0')
    # making the whole graph takes half a minute, and nbs/29 does it and holds it to torch; here a part stands for it
    monkeypatch.setattr(onnx_export, 'shown', lambda n, s=None, size=256: (Tail().eval(), dict(x=torch.rand(1, 3, size, size)), None))
    assert main(['export', '--onnx', str(tmp_path/'m.onnx'), '--weights', str(w)])==0
    said = capsys.readouterr().out
    assert 'matte' in said and float(said.split('equal to torch within ')[1].split('/255')[0])<1
    meta = graph_meta(tmp_path/'m.onnx'); assert (meta['kind'], meta['step'], meta['licence'])==('matte', '96', 'CC0-1.0')
    with pytest.raises(SpriteDXError, match='another kind, birefnet'): load_weights(w)

class Tail(torch.nn.Module):
    def forward(self, x): return x.mean(1, keepdim=True).sigmoid()

def test_a_graph_that_differs_is_not_written(tmp_path, monkeypatch, capsys):
    from spritedx import onnx_export
    monkeypatch.setattr(onnx_export, 'to_onnx', lambda *a, **k: graph_path().read_bytes())
    monkeypatch.setattr(onnx_export, 'apart', lambda *a, **k: 1.5)
    assert main(['export', '--onnx', str(tmp_path/'a.onnx'), '--bare'])==1
    assert 'differs from torch by 1.50/255' in capsys.readouterr().err and list(tmp_path.iterdir())==[]

def test_export_says_which_extra_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    assert main(['export', '--onnx', str(tmp_path/'a.onnx')])==1
    assert "pip install 'spritedx[onnx]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir())==[]

def test_card(tmp_path, capsys):
    "The shipped card where there is one, else a new one; and a word where nothing is asked for"
    assert main(['export', '--card', str(tmp_path/'a.md')])==0
    assert (tmp_path/'a.md').read_text()==weights_path().with_suffix('.md').read_text()
    w = tmp_path/'own.safetensors'; save_weights(w, ACNet(ACSpec((8, 16), (1, 1), (1,), heads=2)), licence='MIT', sources='mine MIT')
    w.with_suffix('.md').write_text('notes of somebody')
    assert main(['export', '--card', str(tmp_path/'b.md'), '--weights', str(w)])==0
    assert '# own' in (t := (tmp_path/'b.md').read_text()) and 'license: mit' in t and 'mine MIT' in t
    capsys.readouterr()
    assert main(['export'])==1 and '--card CARD.md' in capsys.readouterr().err
