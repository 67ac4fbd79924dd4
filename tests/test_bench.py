"`spritedx bench` as a user meets it: packs that are not there, wrong words, a run that is interrupted and goes on"
import json, os, shutil, signal, subprocess, sys, time
import polars as pl
import pytest
from spritedx import validation
from spritedx.cli import main

def start(*argv, data, cwd):
    env = {**os.environ, 'SPRITEDX_DATA': str(data), 'OMP_NUM_THREADS': '1'}
    return subprocess.Popen([sys.executable, '-c', 'import sys; from spritedx.cli import main; sys.exit(main())', 'bench', *map(str, argv)],
        env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def bench(*argv, data, cwd):
    p = start(*argv, data=data, cwd=cwd)
    out, err = p.communicate(timeout=500)
    return p.returncode, out, err

def test_every_set_can_be_asked_for():
    import argparse
    from spritedx import cli
    sets = []
    was = argparse.ArgumentParser.add_argument
    def spy(self, *a, **k): sets.extend([k['choices']] if '--set' in a else []); return was(self, *a, **k)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(argparse.ArgumentParser, 'add_argument', spy)
        with pytest.raises(SystemExit): cli.main(['bench', '--help'])
    assert sets and all(tuple(o)==validation.SETS for o in sets)

@pytest.mark.parametrize('argv, says', [
    (['--set', 'valid'], 'the set valid needs sprites.parquet: point SPRITEDX_DATA to the folder that holds it (data/validation/README.md'),
    (['--set', 'ood'], 'without it --set procedural and --set clips can run'),
    (['--set', 'procedural', '--model', 'nobody'], 'no weights nobody'),
    (['--set', 'procedural', '--model', 'none', '--limit', '0'], 'a limit of 0 leaves nothing'),
    (['--set', 'procedural', '--model', 'none', '--condition', 'on mars'], "no condition 'on mars'"),
    (['--set', 'procedural', '--model', 'none', '--against', '999'], 'no finished run 999'),
])
def test_what_can_be_mended_is_one_line(argv, says, tmp_path):
    rc, out, err = bench(*argv, data=tmp_path, cwd=tmp_path)
    assert (rc, out, err.count('\n'))==(1, '', 1)
    assert err.startswith('spritedx: ') and says in err

def test_interrupted_run_goes_on(tmp_path):
    argv = ['--set', 'procedural', '--model', 'none', '--condition', 'small', '--workers', 2, '--out', tmp_path/'run']
    p = start(*argv, data=tmp_path, cwd=tmp_path)
    while not (tmp_path/'run'/'run.json').is_file():
        assert p.poll() is None, p.communicate()[1]
        time.sleep(.2)
    time.sleep(.5); p.send_signal(signal.SIGINT) # early: two seconds may be all that the rest takes
    _, err = p.communicate(timeout=200)
    assert p.returncode==130 and 'the same command goes on' in err and 'Traceback' not in err
    assert not (tmp_path/'run'/'cases.parquet').exists()
    rc, out, err = bench(*argv, data=tmp_path, cwd=tmp_path)
    assert rc==0, err
    df = pl.read_parquet(tmp_path/'run'/'cases.parquet')
    assert len(df)==df['case'].n_unique()==32 and df['error'].null_count()==32
    assert '| small | 32 |' in out
    assert sorted(o.name for o in (tmp_path/'run').iterdir())==['cases.parquet', 'draft.json', 'report.md', 'run.json', 'summary.parquet', 'worst.png']

def test_clips_beside_peers_one_of_which_is_not_there(tmp_path, capsys, monkeypatch):
    "Flicker is measured for every method, and a peer that is not installed has a row that says so"
    monkeypatch.setitem(sys.modules, 'unfake', None)
    assert main(['bench', '--set', 'clips', '--condition', 'clip idle', '--limit', '1', '--model', 'none', '--peer', 'border-key', '--peer', 'unfake', '--workers', '1', '--out', str(tmp_path/'run')])==0
    out = capsys.readouterr().out
    df = pl.read_parquet(tmp_path/'run'/'cases.parquet')
    assert df['method'].to_list()==['no network', 'border-key'] and df['error'].null_count()==2
    assert df['exact'][0]>.8 and df['flicker'][0]<.02<df['flicker'][1] # frame by frame, every frame finds colours of its own
    assert '| flicker | ' in out and "| unfake | not installed; pip install 'spritedx[peers]' |" in out
    gone = pl.read_parquet(tmp_path/'run'/'summary.parquet').filter(pl.col('metric')=='not run')
    assert gone['method'].to_list()==['unfake'] and 'pip install' in gone['name'][0]
    d = json.loads((tmp_path/'run'/'draft.json').read_text())
    assert d['metrics']['flicker']['all']['n']==1

@pytest.fixture
def other_hash(tmp_path, monkeypatch):
    "Manifests of which one case has another hash"
    where = tmp_path/'validation'; shutil.copytree(validation.folder(), where)
    df = pl.read_parquet(where/'clips.parquet')
    df.with_columns(hash=pl.when(pl.col('case')=='clips/clip-idle/000').then(pl.lit('0'*16)).otherwise('hash')).write_parquet(where/'clips.parquet')
    monkeypatch.setattr(validation, 'folder', lambda: where)
    validation.manifest.cache_clear(); yield where; validation.manifest.cache_clear()

def test_another_hash_names_the_case(other_hash, tmp_path, capsys):
    argv = ['bench', '--set', 'clips', '--condition', 'clip idle', '--limit', '1', '--model', 'none', '--workers', '1', '--out', str(tmp_path/'run')]
    assert main(argv)==1 and 'clips.parquet is not the file manifest.json names' in capsys.readouterr().err
    index = json.loads((other_hash/'manifest.json').read_text()); index['sets']['clips']['sha256'] = validation._sha(other_hash/'clips.parquet')
    (other_hash/'manifest.json').write_text(json.dumps(index))
    assert main(argv)==1
    err = capsys.readouterr().err
    assert 'case clips/clip-idle/000 does not come out as its hash says' in err and '--any-hash' in err and err.strip().count('\n')==0
    assert main(['bench', '--set', 'clips', '--limit', '4', '--check', '--workers', '1'])==1 and 'clips/clip-idle/000' in capsys.readouterr().err
    assert main([*argv[:-1], str(tmp_path/'any'), '--any-hash'])==0
    assert '1 rows stand on pictures other than those of the manifest' in capsys.readouterr().out

def test_sets_that_need_no_packs_come_out_to_the_byte(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('SPRITEDX_DATA', str(tmp_path))
    assert main(['bench', '--set', 'clips', '--check', '--workers', '1'])==0 and '16 cases of clips' in capsys.readouterr().out

def test_no_photograph_of_the_benchmark_is_trained_on():
    "Those for training are there, and none of them is held out"
    from spritedx.corrupt import PHOTOS, _photo
    for k in ('train', 'more'): assert not set(PHOTOS[k])&set(PHOTOS['valid']) and all(_photo(n).ndim==3 for n in PHOTOS[k])
