"Experiments from the command line: a draft, a record, a comparison, a measurement repeated; and every way to get it wrong"
import json, shutil
from dataclasses import fields
from pathlib import Path
import numpy as np, polars as pl, pytest
from spritedx import bench, metrics, peers
from spritedx.cli import main
from spritedx.core import SpriteDXError
from spritedx.ledger import Record, complete, read_cases, read_record

root = Path(__file__).resolve().parent.parent

def cases_of(shift=0., n=40):
    g = np.random.default_rng(1)
    return pl.DataFrame(dict(case=[f'procedural/{i}' for i in range(n)], sprite=[f's{i//2}' for i in range(n)], source='s', condition=['a', 'b']*(n//2),
        exact=(g.uniform(.3, .8, n)+shift).clip(0, 1), iou=g.uniform(.6, 1, n)))

rest = dict(claim='it is so', data_hash='0'*64, seeds=[1, 2, 3], device='cpu', wall_s=1, bench=dict(set='procedural', manifest='1'*64, options=dict(network=False)))

@pytest.fixture
def lab(tmp_path, monkeypatch):
    "A checkout with the template and nothing else"
    (tmp_path/'nbs'/'experiments').mkdir(parents=True); (tmp_path/'settings.ini').write_text('')
    shutil.copy(root/'nbs'/'experiments'/'_template.ipynb', tmp_path/'nbs'/'experiments')
    monkeypatch.chdir(tmp_path)
    return tmp_path

@pytest.fixture
def sh(lab, capsys):
    def sh(*args):
        try: rc = main(['record', *map(str, args)])
        except SystemExit as e: rc = e.code
        o, e = capsys.readouterr()
        return rc, o, e
    return sh

@pytest.fixture
def two(lab, sh):
    "Records 0 and 1"
    assert sh('new', 'start', '--change', 'nothing')[0]==0
    complete(0, cases_of(), verdict='baseline', **rest)
    assert sh('new', 'better', '--change', 'one thing', '--parent', 0)[0]==0
    complete(1, cases_of(.1), verdict='adopted', **rest)

def test_new_leaves_a_notebook_and_a_draft(sh, lab):
    rc, out, err = sh('new', 'first_try', '--change', 'a "quoted" change')
    assert (rc, err)==(0, '')
    assert 'a \\"quoted\\" change' in (lab/'nbs/experiments/000_first_try.ipynb').read_text()
    assert json.loads((lab/'data/ledger/000.draft.json').read_text())['change']=='a "quoted" change'
    assert sh('new', 'second', '--change', 'x')[1].count('001') # a draft holds its number

@pytest.mark.parametrize('args,says', [(('new', 'Bad Name', '--change', 'x'), 'lower case'), (('new', 'x', '--change', 'y', '--parent', 7), 'no record 007'),
    (('show', 5), 'no record 005'), (('compare', 1, 9), 'no record 009'), (('compare', 1, 0, '--metric', 'beauty'), 'no `beauty`')], ids=str)
def test_what_a_user_can_mend_is_one_line(sh, two, args, says):
    rc, out, err = sh(*args)
    assert rc==1 and err.count('\n')==1 and says in err

def test_new_outside_a_checkout(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['record', 'new', 'x', '--change', 'y'])==1
    assert 'in a checkout' in capsys.readouterr().err and list(tmp_path.iterdir())==[]

def test_show_and_compare(sh, two):
    assert '[001](001_better.ipynb)' in sh('show')[1] and 'one thing' in sh('show', 1)[1]
    out = sh('compare', 1, 0)[1]
    assert '0.1000' in out and 'true' in out
    assert read_record(1).metrics['exact']['all']['n']==40

@pytest.mark.parametrize('name', [f.name for f in fields(Record)])
def test_a_record_lacks_nothing(sh, lab, two, name):
    "Without any one of its fields a record is refused, and the field named"
    p = lab/'data/ledger/001.json'; d = json.loads(p.read_text()); del d[name]; p.write_text(json.dumps(d))
    for args in (('show',), ('show', 1), ('compare', 1, 0), ('rescore', 1), ('new', 'third', '--change', 'x')):
        rc, out, err = sh(*args)
        assert rc==1 and f'`{name}` is missing' in err and err.count('\n')==1
    assert not list((lab/'data/ledger').glob('002*'))

@pytest.mark.parametrize('name,value', [('claim', ' '), ('seeds', []), ('data_hash', 'x'), ('verdict', 'good'), ('wall_s', -1), ('metrics', {}), ('bench', None), ('cases_hash', None),
    ('parent', 5), ('weights', 'w.safetensors'), ('date', 'today'), ('metrics', {'exact': {'all': {'n': 1, 'mean': .5, 'lo': .6, 'hi': .7}}})], ids=str)
def test_a_record_says_something_in_every_field(sh, lab, two, name, value):
    p = lab/'data/ledger/001.json'; p.write_text(json.dumps(json.loads(p.read_text())|{name: value}))
    rc, out, err = sh('show', 1)
    assert rc==1 and 'record 1: field `' in err and err.count('\n')==1

def test_flicker_of_clips_is_kept_and_compared(sh, lab):
    flick = lambda at: cases_of().with_columns(flicker=pl.Series([at]*39+[float('nan')]))
    for n,at in enumerate((.3, .1)):
        assert sh('new', f'clips{n}', '--change', 'x', *([] if n==0 else ['--parent', 0]))[0]==0
        complete(n, flick(at), verdict='baseline' if n==0 else 'adopted', **rest)
    assert read_record(1).metrics['flicker']['all']=={'n': 39, 'mean': .1, 'lo': .1, 'hi': .1}
    assert '-0.2000' in sh('compare', 1, 0, '--metric', 'flicker')[1]

def test_rescore(sh, two, monkeypatch):
    "Holds on the same numbers, on some of the cases, and not on others; a network's weights have to be the record's"
    asked = []
    def measured(df): monkeypatch.setattr(bench, 'measure', lambda *a, **k: asked.append(a) or df)
    measured(cases_of(.1)); rc, out, _ = sh('rescore', 1)
    assert rc==0 and 'holds on 40 cases, every one as it was' in out and asked[0][0]=='procedural' and asked[0][1][0].opt.network is False
    measured(cases_of(.1)[:10]); assert 'holds on 10 cases' in sh('rescore', 1, '--limit', 10)[1]
    measured(cases_of(.1).with_columns(pl.col('exact').reverse())); assert 'of them came out otherwise' in sh('rescore', 1)[1]
    measured(cases_of(-.2)); rc, _, err = sh('rescore', 1)
    assert rc==1 and 'does not hold: exact' in err

def test_rescore_asks_for_the_same_conditions(sh, lab, monkeypatch):
    asked = []
    monkeypatch.setattr(bench, 'measure', lambda *a, **k: asked.append(a[3]) or cases_of())
    assert sh('new', 'few', '--change', 'x')[0]==0
    complete(0, cases_of(), verdict='baseline', **{**rest, 'bench': {**rest['bench'], 'conditions': ['a', 'b']}})
    assert sh('rescore', 0)[0]==0 and asked==[['a', 'b']]

def test_rescore_wants_the_weights_of_the_record(sh, lab):
    (lab/'other.safetensors').write_bytes(b'other')
    assert sh('new', 'net', '--change', 'a network')[0]==0
    complete(0, cases_of(), verdict='baseline', weights=lab/'other.safetensors', settings=dict(epochs=1), **{**rest, 'bench': {**rest['bench'], 'options': {}}})
    rc, _, err = sh('rescore', 0)
    assert rc==1 and 'not the weights of record 0' in err

def test_damaged_cases_are_noticed(lab, two):
    p = lab/'data'/'ledger'/'001.parquet'; p.write_bytes(p.read_bytes()[:-9])
    with pytest.raises(SpriteDXError, match='not the file record 1'): read_cases(read_record(1))
    p.unlink()
    with pytest.raises(SpriteDXError, match='missing'): read_cases(read_record(1))

def test_a_scrap_does_not_move_a_sprite():
    "What a rectangle around everything visible would get wrong"
    x = np.zeros((30, 30, 4), np.uint8); x[10:20, 10:20] = 200, 30, 30, 255; x[12, 12] = 30, 30, 200, 255
    y = np.pad(x, ((40, 0), (0, 40), (0, 0))); y[0, -1] = 90, 90, 90, 255
    assert metrics.score(x, y).exact==pytest.approx(100/101)

def test_missing_saliency_library_says_so(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'py_sod_metrics', None)
    with pytest.raises(SpriteDXError, match='pip install pysodmetrics'): metrics.saliency(np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8))

def test_saliency_of_a_matte():
    pytest.importorskip('py_sod_metrics')
    t = np.zeros((64, 64), np.uint8); t[16:48, 16:48] = 255
    good, bad = metrics.saliency(t, t), metrics.saliency(t, 255-t)
    assert all(good[k]>.95 and bad[k]<.5 for k in good)

def test_a_missing_peer_says_so(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'unfake', None)
    assert 'spritedx[peers]' in peers.missing('unfake')
