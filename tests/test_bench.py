"`spritedx bench` as a user meets it: packs that are not there, wrong words, a run that is interrupted and goes on"
import os, signal, subprocess, sys, time
import polars as pl
import pytest

def start(*argv, data, cwd):
    env = {**os.environ, 'SPRITEDX_DATA': str(data), 'OMP_NUM_THREADS': '1'}
    return subprocess.Popen([sys.executable, '-c', 'import sys; from spritedx.cli import main; sys.exit(main())', 'bench', *map(str, argv)],
        env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def bench(*argv, data, cwd):
    p = start(*argv, data=data, cwd=cwd)
    out, err = p.communicate(timeout=500)
    return p.returncode, out, err

@pytest.mark.parametrize('argv, says', [
    (['--set', 'valid'], 'the set valid needs sprites.parquet: point SPRITEDX_DATA to the folder that holds it (data/validation/README.md'),
    (['--set', 'ood'], '--set procedural runs without it'),
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
    time.sleep(2); p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=200)
    assert p.returncode==130 and 'the same command goes on' in err and 'Traceback' not in err
    assert not (tmp_path/'run'/'cases.parquet').exists()
    rc, out, err = bench(*argv, data=tmp_path, cwd=tmp_path)
    assert rc==0, err
    df = pl.read_parquet(tmp_path/'run'/'cases.parquet')
    assert len(df)==df['case'].n_unique()==32 and df['error'].null_count()==32
    assert '| small | 32 |' in out
    assert sorted(o.name for o in (tmp_path/'run').iterdir())==['cases.parquet', 'draft.json', 'report.md', 'run.json', 'summary.parquet', 'worst.png']
