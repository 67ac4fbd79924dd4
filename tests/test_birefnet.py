"BiRefNet against the published architecture, against torchvision and in ONNX"
import importlib.util, io, json, os, re, subprocess, sys, time, warnings
from pathlib import Path
import numpy as np, pytest, torch
from spritedx.birefnet import SPECS, BiRefNet, BiRefSpec, DeformConv, deform_conv, load, skeleton
from spritedx.core import SpriteDXError

@pytest.fixture(autouse=True)
def seed(): torch.manual_seed(0)

parity = Path(__file__).resolve().parents[2]/'shared'/'parity'
published = pytest.mark.skipif(not (parity/'swin_t_256.npz').exists(), reason='the reference of the published architecture is not here (../shared/parity)')

@pytest.fixture(scope='module')
def ref():
    spec = importlib.util.spec_from_file_location('reference_weights', parity/'reference_weights.py')
    m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m)
    return m

def names(sd): return {k: [list(v.shape), str(v.dtype).removeprefix('torch.')] for k,v in sd.items()}

@published
@pytest.mark.parametrize('file,spec', [('swin_t', 'tiny'), ('swin_l', 'large')])
def test_names_and_shapes_are_the_published_ones(file, spec):
    assert names(skeleton(SPECS[spec]).state_dict())==json.loads((parity/f'{file}_keys.json').read_text())

@published
def test_output_is_the_published_one(ref):
    "Logits, and mean and deviation of every stage on the way"
    net = load(ref.fill_state_dict(BiRefNet(SPECS['tiny']).state_dict(), 0))
    want = json.loads((parity/'swin_t_256.json').read_text())['stages']
    seen, calls, mods = {}, {}, dict(net.named_modules())
    def watch(name):
        def hook(mod, args, out):
            k = calls[name] = calls.get(name, -1)+1
            for i, o in enumerate(out if isinstance(out, list) else [out]): seen[f'{name}[{i}]#{k}'] = o
        return hook
    for name in {k.split('[')[0] for k in want}: mods[name].register_forward_hook(watch(name))
    with torch.inference_mode(): y = net(ref.make_input(0, (256, 256)))
    assert set(want)<=set(seen)
    for k, w in want.items():
        assert list(seen[k].shape)==w['shape'], k
        assert abs(seen[k].mean().item()-w['mean'])<1e-4 and abs(seen[k].std().item()-w['std'])<1e-4, k
    assert np.abs(y.numpy()-np.load(parity/'swin_t_256.npz')['logits']).max()<1e-4

def test_the_largest_loads_and_runs():
    "Swin-L with half precision tensors and wrapped names; about 0.9 GB"
    g = torch.Generator().manual_seed(0)
    def fill(k, v):
        if not v.is_floating_point(): return torch.zeros(v.shape, dtype=v.dtype)
        return torch.ones(v.shape, dtype=torch.half) if v.ndim<2 and k.endswith(('weight', 'running_var')) else torch.empty(v.shape, dtype=torch.half).normal_(0, .02, generator=g)
    net = load({'module.'+k: fill(k, v) for k, v in skeleton(SPECS['large']).state_dict().items()})
    assert net.spec==SPECS['large'] and not net.training
    with torch.inference_mode(): y = net(torch.randn(1, 3, 32, 64))
    assert y.shape==(1, 1, 32, 64) and y.dtype==torch.float32 and y.isfinite().all() and y.std()>0

def torchvisions(spec, sd):
    "torchvision's Swin with a backbone's weights"
    swin = pytest.importorskip('torchvision.models.swin_transformer')
    m = swin.SwinTransformer([4, 4], spec.dims[0], list(spec.depths), list(spec.heads), [spec.window]*2, stochastic_depth_prob=0., num_classes=1).eval()
    to = (r'^patch_embed\.proj', 'features.0.0'), (r'^patch_embed\.norm', 'features.0.2'), (r'^layers\.(\d)\.blocks', lambda g: f'features.{2*int(g[1])+1}'), \
        (r'^layers\.(\d)\.downsample', lambda g: f'features.{2*int(g[1])+2}'), (r'mlp\.fc1', 'mlp.0'), (r'mlp\.fc2', 'mlp.3')
    def name(k):
        for a, b in to: k = re.sub(a, b, k)
        return k
    mine = {name(k): v.flatten() if k.endswith('relative_position_index') else v for k, v in sd.items() if not re.match(r'norm\d', k)}
    left = m.load_state_dict(mine, strict=False)
    assert not left.unexpected_keys and all(k.split('.')[0] in ('norm', 'head') for k in left.missing_keys)
    return m

def backbone_error(bb, spec, size):
    "Largest difference to torchvision at the stages whose maps are larger than a window and multiples of it: only there the two agree about shifts"
    import torch.nn.functional as F
    m, y, sd = torchvisions(spec, bb.state_dict()), torch.randn(1, 3, size, size), bb.state_dict()
    stages = [i for i in range(4) if (n := size//4//2**i)>spec.window and n%spec.window==0]
    with torch.inference_mode():
        maps = bb(y)
        for i in range(max(stages)+1):
            y = m.features[2*i+1](m.features[2*i](y))
            if i in stages: yield i, (maps[i]-F.layer_norm(y, y.shape[-1:], sd[f'norm{i}.weight'], sd[f'norm{i}.bias']).permute(0, 3, 1, 2)).abs().max().item()

def named_ops():
    "Names of compiled operators that Swin does not use: with them torchvision's Python parts import beside any build of torch, but the rest of it would fail"
    try: import torchvision
    except RuntimeError:
        lib = torch.library.Library('torchvision', 'DEF')
        for o in ('nms', 'qnms'): lib.define(f'{o}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
        return lib

def small_errors():
    "Run in a process of its own: see `named_ops`"
    lib, spec = named_ops(), BiRefSpec((8, 16, 32, 64), (2, 2, 2, 2), (1, 2, 2, 2), 4, inner=8, aspp=8, kernels=(1, 3), ref=4, gdt=4)
    torch.manual_seed(0); print(json.dumps(dict(backbone_error(lively(BiRefNet(spec)).bb, spec, 128))))

def test_swin_is_torchvisions_where_both_shift_alike():
    if importlib.util.find_spec('torchvision') is None: pytest.skip('torchvision is not here')
    r = subprocess.run([sys.executable, '-c', 'from test_birefnet import small_errors; small_errors()'], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=120)
    assert r.returncode==0, r.stderr
    found = json.loads(r.stdout)
    assert list(found)==['0', '1', '2'] and max(found.values())<1e-4

@published
@pytest.mark.skipif('SPRITEDX_MEASURE' not in os.environ, reason='minutes and 3 GB: SPRITEDX_MEASURE=data/birefnet/swin_l.json pytest tests/test_birefnet.py -k swin_l')
def test_swin_l_with_the_weights_of_the_reference(ref):
    "What nbs/23_birefnet.ipynb says of the largest network: loaded strictly, run twice, its backbone against torchvision's"
    import resource
    lib = named_ops()
    keys, index = json.loads((parity/'swin_l_keys.json').read_text()), dict(BiRefNet(SPECS['large']).named_buffers())
    sd = {k: index[k] if (v := ref.fill(k, shape, getattr(torch, dtype), 0)) is None else v for k, (shape, dtype) in keys.items()}
    net, spent = load(sd), lambda: time.process_time()
    assert len(sd)==754 and net.spec==SPECS['large'] and not net.training
    del sd, index
    x = ref.make_input(0, (256, 256))
    with torch.inference_mode(): t = spent(); y = net(x); seconds = spent()-t; again = net(x)
    gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20
    assert y.shape==(1, 1, 256, 256) and y.isfinite().all() and torch.equal(y, again) and .1<y.std()<10
    off = max(e for _, e in backbone_error(net.bb, net.spec, 384))
    assert off<1e-4
    row = dict(entries=len(keys), parameters=sum(p.numel() for p in net.parameters()), size='256x256', mean=y.mean().item(), std=y.std().item(), torchvision=off, seconds=seconds, gb=gb)
    assert row['parameters']==220_176_498
    Path(os.environ['SPRITEDX_MEASURE']).write_text(json.dumps({k: float(f'{v:.4g}') if isinstance(v, float) else v for k, v in row.items()}, indent=1)+'\n')

nano = BiRefSpec((8, 16, 32, 64), (2, 2, 2, 2), (1, 2, 2, 2), 3, inner=8, aspp=8, kernels=(1, 3), ref=4, gdt=4)

def lively(net, seed=0):
    "Weights that leave nothing at its start: offsets of about a pixel, statistics of their own"
    g = torch.Generator().manual_seed(seed)
    for k, v in net.state_dict().items():
        if v.is_floating_point(): v.copy_(torch.rand(v.shape, generator=g)+.5 if 'running_var' in k else torch.randn(v.shape, generator=g)*(.5 if v.ndim<2 else 1.5/v[0].numel()**.5))
    return net.eval()

@pytest.mark.parametrize('hw', [(32, 32), (96, 32), (64, 160)])
def test_sizes_and_batches(hw):
    "Every multiple of 32, and a picture's answer does not hang on its neighbours in the batch"
    net, x = lively(BiRefNet(nano)), torch.randn(2, 3, *hw)
    with torch.inference_mode(): y = net(x); z = net(x[1:])
    assert y.shape==(2, 1, *hw)
    assert torch.allclose(y[1:], z, atol=1e-4*y.std().item())

def test_pieces_that_a_shift_brings_together_do_not_see_each_other():
    "Changing the far corner of a shifted window's neighbour piece changes nothing, whatever the attention's weights"
    from spritedx.birefnet import SwinBlock
    b = lively(SwinBlock(4, 4, 2, True)).double(); x = torch.randn(1, 8, 8, 4, dtype=torch.double)
    y = x.clone(); y[:, 7, 7, 0] += 5 # after the shift it shares a window with rows and columns 0 and 1
    with torch.inference_mode(): d = (b.attend(b.norm1(x))-b.attend(b.norm1(y)))[0].abs().amax(-1)
    assert d[6:, 6:].min()>1e-6 and d[:6].max()==d[:, :6].max()==0

def test_deformable_convolution_is_torchvisions():
    try: from torchvision.ops import deform_conv2d
    except (ImportError, RuntimeError): pytest.skip('torchvision cannot be imported here')
    for k in (1, 3, 7):
        x, o, w, m = torch.randn(2, 16, 20, 31), 4*torch.randn(2, 2*k*k, 20, 31), torch.randn(8, 16, k, k)/(16*k*k)**.5, torch.rand(2, k*k, 20, 31)
        assert (deform_conv(x, o, w, m)-deform_conv2d(x, o, w, padding=k//2, mask=m)).abs().max()<1e-5

def test_deformable_convolution_in_half_precision():
    "Places stay exact: a shift by one pixel far from the origin is a shift by one pixel"
    x = torch.zeros(1, 1, 4, 300); x[..., 280] = 1
    o = torch.zeros(1, 2, 4, 300); o[:, 1] = 1
    with torch.autocast('cpu', torch.bfloat16): y = deform_conv(x.bfloat16(), o, torch.ones(1, 1, 1, 1), torch.ones(1, 1, 4, 300).bfloat16())
    assert y.float().argmax(-1).unique().tolist()==[279] and y.float().max()>.99

@pytest.mark.parametrize('spec', [nano, BiRefSpec((8, 8, 8, 8), (1, 1, 1, 1), (), 0, inner=8, aspp=8, kernels=(3,), ref=4, gdt=4, head=4)], ids=['swin', 'conv'])
def test_gradients_reach_every_weight(spec):
    net = lively(BiRefNet(spec)).train()
    alphas, edges = net(torch.randn(2, 3, 64, 64))
    sum(o.square().mean() for o in (*alphas, *edges)).backward()
    assert [k for k, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]==[]

def test_onnx_gives_the_same(tmp_path):
    ort = pytest.importorskip('onnxruntime'); pytest.importorskip('onnxscript')
    net, x = lively(DeformConv(4, 6, 3)), torch.randn(1, 4, 9, 13)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(net, (x,), tmp_path/'m.onnx', dynamo=True, opset_version=20, verbose=False)
    s = ort.InferenceSession(tmp_path/'m.onnx')
    y, = s.run(None, {s.get_inputs()[0].name: x.numpy()})
    assert np.abs(y-net(x).detach().numpy()).max()<1e-5

def test_an_unsafe_file_runs_nothing(tmp_path):
    class Evil:
        def __reduce__(self): return (Path.touch, (tmp_path/'ran',))
    torch.save({'bb': Evil()}, tmp_path/'x.pth')
    with pytest.raises(SpriteDXError, match='x.pth'): load(tmp_path/'x.pth')
    assert not (tmp_path/'ran').exists()

@pytest.mark.parametrize('change,said', [
    (lambda sd: {k: v for k, v in sd.items() if 'gdt' not in k}, '33 missing: decoder.gdt_convs_4.0.weight, decoder.gdt_convs_4.0.bias, decoder.gdt_convs_4.1.weight ...$'),
    (lambda sd: sd|{f'head.{i}': torch.zeros(1) for i in range(4)}, '4 surplus: head.0, head.1, head.2 ...'),
    (lambda sd: sd|{'decoder.lateral_block4.conv.weight': torch.zeros(3, 3)}, r'1 misshapen: decoder.lateral_block4.conv.weight \[3, 3\]'),
    (lambda sd: {'model.layer1.weight': torch.zeros(1)}, '586 missing: bb.patch_embed.proj.weight'),
    (lambda sd: {}, '586 missing')], ids=['missing', 'surplus', 'shape', 'other', 'empty'])
def test_what_does_not_fit_is_named(change, said):
    sd = lively(BiRefNet(nano)).state_dict()
    with pytest.raises(SpriteDXError, match=said): load(change(sd))

def test_a_loaded_network_owns_its_weights():
    sd = lively(BiRefNet(nano)).state_dict(); was = sd['bb.norm0.weight'].clone()
    net = load(sd)
    with torch.no_grad(): net.bb.norm0.weight.zero_()
    assert torch.equal(sd['bb.norm0.weight'], was)

def test_a_hub_id_is_fetched(tmp_path, monkeypatch):
    "Through huggingface_hub, which is only asked for then; safetensors before a pickle"
    import sys, types
    from safetensors.torch import save_file
    sd, asked = lively(BiRefNet(nano)).state_dict(), []
    save_file(sd, tmp_path/'model.safetensors'); torch.save(sd, tmp_path/'tuned.pth')
    def hub(files):
        fetch = lambda repo, f: asked.append((repo, f)) or str(tmp_path/f)
        monkeypatch.setitem(sys.modules, 'huggingface_hub', types.SimpleNamespace(hf_hub_download=fetch, list_repo_files=files))
    hub(lambda repo: ['README.md', 'a.pth', 'z.safetensors', 'model.safetensors'])
    assert load('owner/name').spec==nano and asked==[('owner/name', 'model.safetensors')]
    hub(lambda repo: ['tuned.pth'])
    assert load('owner/name').spec==nano and asked[1:]==[('owner/name', 'tuned.pth')]
    hub(lambda repo: ['README.md'])
    with pytest.raises(SpriteDXError, match='holds no .safetensors'): load('owner/name')
    def offline(repo): raise ConnectionError
    hub(offline)
    with pytest.raises(SpriteDXError, match='owner/name is no file, and the hub does not give it'): load('owner/name')
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(SpriteDXError, match='pip install huggingface_hub'): load('owner/name')
