"Sheets as game engines read them: a real Godot imports one, and the JSON has the form of Aseprite's exporter"
import base64, json, os, re, shutil, subprocess
from pathlib import Path
import numpy as np, pytest
from spritedx.cli import main
from spritedx.core import SpriteDXError
from spritedx.sources import make_clip
from spritedx.sprite import Clip, Sprite, read, sprite_frames, write_gif, write_sheet

# --- Aseprite: what `DocExporter` of its source writes for `--format json-array --list-tags --list-slices`, and its page on the command line tells

whole = dict(type='integer', minimum=0); words = dict(type='string'); yes = dict(type='boolean')
def form(more=(), **kw): return dict(type='object', properties=kw, required=[k for k in kw if k not in more], additionalProperties=False)
size,box = form(w=whole, h=whole),form(x=whole, y=whole, w=whole, h=whole)
turns = dict(enum=['forward', 'reverse', 'pingpong', 'pingpong_reverse'])
frame = form(filename=words, frame=box, rotated=dict(const=False), trimmed=yes, spriteSourceSize=box, sourceSize=size, duration=dict(type='integer', minimum=1))
tag = form({'color', 'data', 'repeat'}, name=words, **{'from': whole}, to=whole, direction=turns, color=words, data=words, repeat=words)
key = form({'center', 'pivot'}, frame=whole, bounds=box, center=box, pivot=form(x=dict(type='integer'), y=dict(type='integer')))
some = lambda of: dict(type='array', items=of)
meta = form({'layers', 'slices', 'spritedx'}, app=words, version=words, image=words, format=dict(enum=['RGBA8888', 'I8']), size=size, scale=words, frameTags=some(tag), layers=some(dict(type='object')),
            slices=some(form({'color', 'data'}, name=words, color=dict(type='string', pattern='^#[0-9a-f]{8}$'), data=words, keys=some(key))), spritedx=dict(type='object')) # the last is ours, and readers skip it
ASEPRITE = form(frames=dict(some(frame), minItems=1), meta=meta)

def held(j, png):
    "The schema, and what it cannot say: boxes lie in the picture, tags among the frames"
    jsonschema = pytest.importorskip('jsonschema', reason='jsonschema comes with Jupyter')
    jsonschema.validate(j, ASEPRITE)
    h,w = read(png).pixels[0].shape[:2]; n = len(j['frames'])
    assert j['meta']['size']==dict(w=w, h=h) and j['meta']['image']==png.name
    assert all(b['x']+b['w']<=w and b['y']+b['h']<=h for f in j['frames'] for b in [f['frame']])
    assert all(f['sourceSize']==dict(w=f['frame']['w'], h=f['frame']['h']) for f in j['frames'])
    assert all(0<=t['from']<=t['to']<n for t in j['meta']['frameTags'])

walk = [np.pad(f, ((4, 4), (4, 4), (0, 0))) for f in make_clip(3, kind='slime', animation='walk', n=6, size=32)]
def story(name='slime'):
    "Two animations, one of which holds its last frame"
    c = Clip([Sprite(x) for x in walk], [100, 100, 100, 80, 80, 240], name); c.tags = [('walk', 0, 2), ('hop "é"', 3, 5)]
    return c

def test_a_sheet_is_of_aseprites_form(tmp_path):
    "By the library and by the command, with tags, an anchor, enlarged, of one frame; and the check refuses another form"
    write_gif(walk, tmp_path/'a.gif', [80]*6)
    for more in ([], ['--anchor', 'bottom'], ['--scale', '3']):
        assert main(['clip', str(tmp_path/'a.gif'), '-o', str(tmp_path/'out'), '--no-network', *more])==0
        held(json.loads((tmp_path/'out'/'a.json').read_text()), tmp_path/'out'/'a.png')
        if '--anchor' in more: assert json.loads((tmp_path/'out'/'a.json').read_text())['meta']['slices'][0]['keys'][0]['pivot']
    held(j := json.loads(write_sheet(story(), tmp_path/'s.png', scale=2).with_suffix('.json').read_text()), tmp_path/'s.png')
    held(json.loads(write_sheet(Clip([Sprite(walk[0])], [100], 'one'), tmp_path/'one.png').with_suffix('.json').read_text()), tmp_path/'one.png')
    for wrong in (dict(j, frames=[]), dict(j, frames=[{**j['frames'][0], 'duration': .1}]), dict(j, meta={**j['meta'], 'frameTags': [dict(j['meta']['frameTags'][0], direction='back')]}), dict(j, meta={**j['meta'], 'size': dict(w=1, h=1)})):
        with pytest.raises(Exception): held(wrong, tmp_path/'s.png')

# --- Godot

godot = next((o for n in ('godot3-server', 'godot3-headless', 'godot3') if (o := shutil.which(n))), None)
SCRIPT = '''extends SceneTree
func _init():
	var f = load("res://art/slime.tres")
	var out = {}
	for a in f.get_animation_names():
		var frames = []
		for i in range(f.get_frame_count(a)):
			var t = f.get_frame(a, i)
			var m = t.atlas.get_data().get_rect(t.region)
			m.convert(Image.FORMAT_RGBA8)
			frames.append([m.get_width(), m.get_height(), Marshalls.raw_to_base64(m.get_data())])
		out[a] = {"speed": f.get_animation_speed(a), "loop": f.get_animation_loop(a), "frames": frames}
	var j = File.new()
	j.open("res://art/slime.json", File.READ)
	print("SEEN ", JSON.print({"animations": out, "tags": JSON.parse(j.get_as_text()).result["meta"]["frameTags"].size()}))
	quit()
'''

@pytest.mark.skipif(godot is None, reason='no Godot here: apt-get install godot3-server')
@pytest.mark.parametrize('indexed', [False, True])
def test_godot_imports_a_sheet(tmp_path, indexed):
    "The engine itself, without a screen: it imports the PNG, reads the resource and the JSON, and its frames are ours to the pixel, as long as ours"
    (tmp_path/'project.godot').write_text('config_version=4\n[application]\nconfig/name="test"\n'); (tmp_path/'seen.gd').write_text(SCRIPT)
    c = story(); write_sheet(c, tmp_path/'art'/'slime.png', indexed=indexed)
    sheet = json.loads((tmp_path/'art'/'slime.json').read_text()); (tmp_path/'art'/'slime.tres').write_text(sprite_frames(sheet, 'res://art/', godot=3), encoding='utf-8')
    env = os.environ|dict(HOME=str(tmp_path), XDG_DATA_HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path), LANG='en_US.UTF-8')
    run = lambda *a: subprocess.run([godot, '--path', str(tmp_path), *a], env=env, capture_output=True, text=True, timeout=120)
    r = run('-e', '-q'); assert list((tmp_path/'.import').glob('slime.png-*.stex')), r.stdout+r.stderr
    r = run('-s', 'res://seen.gd'); seen = re.search('^SEEN (.*)$', r.stdout, re.M); assert seen, r.stdout+r.stderr
    got = json.loads(seen[1]); assert got['tags']==2 and set(got['animations'])=={'walk', 'hop "é"'}
    for name,a,b in c.tags:
        o = got['animations'][name]; ms = c.durations[a:b+1]; assert o['loop'] and len(o['frames'])*1000/o['speed']==pytest.approx(sum(ms), rel=.01)
        want = [i for i,t in zip(range(a, b+1), ms) for _ in range(round(t/min(ms)))]
        assert len(want)==len(o['frames'])
        for i,(w,h,px) in zip(want, o['frames']):
            x = np.frombuffer(base64.b64decode(px), np.uint8).reshape(h, w, 4); v = walk[i][..., 3]>0
            assert np.array_equal(x[..., 3], walk[i][..., 3]) and np.array_equal(x[v], walk[i][v]), (name, i)

def test_the_command_writes_for_godot_4(tmp_path):
    "Three files of one name; every frame once in the text, references that are there, and no part of anything where it fails"
    write_gif(walk, tmp_path/'a.gif', [80]*5+[240])
    assert main(['clip', str(tmp_path/'a.gif'), '-o', str(tmp_path/'out'), '--no-network', '--format', 'godot', '--shots', 'walk'])==0
    assert sorted(p.name for p in (tmp_path/'out').iterdir())==['a.json', 'a.png', 'a.tres']
    text,sheet = (tmp_path/'out'/'a.tres').read_text(),json.loads((tmp_path/'out'/'a.json').read_text())
    assert text.startswith(f'[gd_resource type="SpriteFrames" load_steps={len(sheet["frames"])+2} format=3]') and 'path="res://a.png"' in text and '"name": &"walk"' in text
    made = re.findall(r'\[sub_resource type="AtlasTexture" id="(\w+)"\]', text); used = re.findall(r'SubResource\("(\w+)"\)', text)
    assert made==used and len(set(made))==len(sheet['frames'])
    regions = [tuple(map(int, o)) for o in re.findall(r'Rect2\( (\d+), (\d+), (\d+), (\d+) \)', text)]
    assert regions==[tuple(f['frame'][k] for k in 'xywh') for f in sheet['frames']]
    assert [float(d) for d in re.findall(r'"duration": ([\d.]+)', text)]==[f['duration']/80 for f in sheet['frames']]
