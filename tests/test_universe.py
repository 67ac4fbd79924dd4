"The universe under attack: hostile proposals, rules switched off, several writers at once, death in the middle of a commit"
import hashlib, json, multiprocessing as mp, os, random, re, shutil, signal, sqlite3, time
from pathlib import Path
import numpy as np, pytest
from spritedx.core import SpriteDXError, rng
from spritedx.names import name_fault, segments, skeleton
from spritedx.universe import AUDIT, RELATIONS, RULES, Proposal, Refused, Universe, View, _json, new_id, sprite_key

# --- a world in which everything can go wrong

def found(path):
    "(universe, {nickname: id})"
    u = Universe.new(path, 'Machi', 7, durable=False)
    y, now, d = u.calendar.year_days, u.now, u.draft('genesis')
    town, tarn = d.place('Oren Ford', now-120*y), d.place('Tarn Rock', now-150*y)
    mill, hall, keep = d.place('Sedge Mill', now-80*y), d.place('Elder Hall', now-40*y), d.place('Old Keep', now-200*y, now-50*y)
    guild, lamp = d.group('Salt Guild', now-70*y), d.thing('Brass Lamp', now-10*y)
    ilka, ghost = d.person('Ilka Marsh', now-61*y), d.person('Orrin Vale', now-90*y, now-30*y)
    joren, mira = d.person('Joren Dahl', now-30*y), d.person('Mira Dahl', now-28*y)
    tam, liv = d.person('Tam Dahl', now-8*y), d.person('Liv Orun', now-26*y)
    piet = d.person('Piet Sandor', now-40*y, status='stub')
    hana = d.person('Hana Orun', now-23*y)
    for k, a, b, s in [('within', mill, town, mill.start), ('seat', guild, town, guild.start), ('home', ilka, town, ilka.start), ('home', hana, mill, hana.start), ('owner', lamp, hana, lamp.start),
                       ('parent', hana, ilka, hana.start), ('parent', liv, ilka, liv.start), ('parent', tam, joren, tam.start), ('parent', tam, mira, tam.start),
                       ('spouse', joren, mira, now-9*y), ('friend', ilka, mira, now-10*y)]: d.relate(k, a, b, s)
    d.event('feast', now-5*y, town, {hana: 'guest', ilka: 'host', ghost: 'about'})
    d.event('fair', now-5*y, mill, {hana: 'guest'})
    d.claim(hana, 'trade', 'miller')
    d.text(hana, f'{d.mark(hana)} grew up at {d.mark(mill)}.')
    u.commit(d.proposal())
    names = dict(town=town, tarn=tarn, mill=mill, hall=hall, keep=keep, guild=guild, lamp=lamp, ilka=ilka, ghost=ghost, joren=joren, mira=mira, tam=tam, liv=liv, piet=piet, hana=hana)
    return u, {k: e.id for k, e in names.items()}

@pytest.fixture(scope='module')
def world(tmp_path_factory):
    u, who = found(tmp_path_factory.mktemp('world')/'machi.db')
    yield u, who
    u.close()

@pytest.fixture
def copy(world, tmp_path):
    "A fork of the world in a file of its own"
    with world[0].fork(tmp_path/'copy.db') as u: yield u, world[1]

def contents(path):
    "Bytes of the file and of its write-ahead log"
    return [hashlib.sha256(Path(f'{path}{s}').read_bytes()).hexdigest() if Path(f'{path}{s}').exists() else '' for s in ('', '-wal')]

# --- the adversarial file: every line is a proposal and the rules that refuse it

cases = [json.loads(s) for s in (Path(__file__).parent/'adversarial.jsonl').read_text().splitlines()]

def fill(x, u, who, key):
    "A case with the ids, days and sizes that belong to this world"
    more = lambda o: fill(o, u, who, key)
    if isinstance(x, list): return [more(o) for o in x]
    if isinstance(x, dict) and '$repeat' in x: return x['$repeat'][0]*x['$repeat'][1]
    if isinstance(x, dict) and '$raw' in x: return x['$raw']
    if isinstance(x, dict): return {more(k): more(v) for k, v in x.items()}
    if not isinstance(x, str): return x
    if re.fullmatch(r'now([+-]\d+[yd])?', x):
        return u.now+(int(x[3:-1])*(u.calendar.year_days if x[-1]=='y' else 1) if len(x)>3 else 0)
    for o in ('{other}', '{key}', '{month}'): x = x.replace(o, {'{other}': new_id('elsewhere', 'genesis', 'p', 0), '{key}': key, '{month}': u.calendar.months[0][0]}[o])
    if x.startswith('!'): return x[1:]
    return re.sub(r'\$(?:([plogte])(\d)\b|([a-z]+))', lambda m: new_id(u.id, key, m[1], int(m[2])) if m[1] else who[m[3]], x)

def proposal(case, u, who):
    key = case.get('key', 'attack')
    ops = [o for x in case['ops'] for o in ([x['$ops'][0]]*x['$ops'][1] if '$ops' in x else [x])]
    return Proposal.load(dict(universe=case.get('universe', u.id), key=key, subject=fill(case.get('subject'), u, who, key), ops=fill(ops, u, who, key), base=case.get('base')))

def test_adversarial_file_is_large(): assert len(cases)>=150 and len({c['name'] for c in cases})==len(cases)

@pytest.mark.parametrize('case', cases, ids=lambda c: c['name'])
def test_attack_is_refused_by_name(world, case):
    "The named rules and no others; not a byte of the file changes; the errors are JSON"
    u, who = world
    before, p = contents(u.path), proposal(case, u, who)
    with pytest.raises(Refused) as e: u.commit(p)
    assert e.value.rules==set(case['rules'])
    assert contents(u.path)==before
    for v in json.loads(json.dumps([v.json() for v in e.value.violations])): assert v['rule'] in RULES and v['message'] and '\n' not in v['message'][:200]
    assert {v.rule for v in u.validate(p)}==e.value.rules

def test_world_is_sound_after_all_attacks(world): assert world[0].verify()==[]

# --- every rule carries weight

audited = {'alive', 'future', 'place_stands', 'two_places', 'right_kind', 'event_fact', 'after_end', 'parent_age', 'adult', 'kin', 'reciprocal', 'one_spouse', 'one_home', 'one_within', 'one_owner', 'one_seat',
        'within_cycle', 'relation_life', 'duplicate', 'basis', 'one_value', 'text_surface', 'name_unique', 'name_short', 'still_within'} # rules about facts, which SQL can check
shielded = {'form', 'universe', 'exists', 'name_unique', 'text_unknown', 'text_markup', 'parent_cycle'} # something else stands behind them: another rule or the file's own constraints
unseen = {'a second death'} # the first is forgotten, and what is left agrees with itself

@pytest.mark.parametrize('rule', RULES)
def test_rule_switched_off_lets_something_through(copy, rule):
    "Without it an attack is no longer refused by name; what then gets into the file is found by the auditor"
    u, who = copy
    mine = [c for c in cases if rule in c['rules']]
    assert mine, f'no attack is refused by {rule}'
    u.rules = {k: r for k, r in RULES.items() if k!=rule}
    changed = 0
    for c in mine:
        twin = u.fork(); twin.rules = u.rules
        try: twin.commit(proposal(c, twin, who))
        except Refused as e: assert e.rules!=set(c['rules']); continue
        except Exception: continue # the file itself, or what the rule shields, says no
        changed += 1
        if rule in audited and c['name'] not in unseen: assert twin.audit(), f'{c["name"]} went in unseen'
    if rule not in shielded: assert changed, f'{rule} keeps nothing out by itself'

def test_rules_are_documented():
    for r in RULES.values(): assert r.doc and re.fullmatch('[a-z_]+', r.name)

# --- rules against auditor: what the one lets in, the other must not object to

def random_proposal(u, who, g, key):
    "Anything at all, near the edge of what is possible; returns what drafting alone let through"
    y, ids, d = u.calendar.year_days, list(who), u.draft(key)
    day = lambda: int(u.now-g.choice([0, 0, 1, y//2, 3*y, 5*y, 5*y, 9*y, 18*y, 23*y, 30*y, 61*y]))
    new = [d.person(f'{"".join(g.choice(list("bdfgklmnprstv"))+g.choice(list("aeiou")) for _ in range(4)).capitalize()}', day()) for _ in range(g.integers(0, 2))]
    ids += [e.id for e in new]*4
    held = u.q('SELECT kind, a, b FROM relation WHERE end IS NULL ORDER BY kind, a, b')
    for _ in range(g.integers(1, 5)):
        a, b, k = g.choice(ids), g.choice(ids), str(g.choice(['spouse', 'parent', 'home', 'friend', 'owner', 'within', 'seat', 'member']))
        match g.integers(0, 9):
            case 0 | 1: d.relate(k, a, b, day(), None if g.random()<.7 else day())
            case 2: d.event(str(g.choice(['feast', 'birth', 'death', 'wedding'])), day(), g.choice(ids), {a: str(g.choice(['guest', 'child', 'deceased', 'spouse', 'about'])), b: str(g.choice(['guest', 'spouse']))})
            case 3: d.claim(a, str(g.choice(['trade', 'coat'])), str(g.choice(['smith', 'baker'])), start=None if g.random()<.5 else day())
            case 4: d.end(a, day())
            case 5: d.part(*held[g.integers(len(held))], day())
            case 8: # one day in two places, one of which lies in the other as long as nobody parts them
                when = day()
                for place in ('town', 'mill'): d.event('fair', when, u.named(dict(town='Oren Ford', mill='Sedge Mill')[place]), {a: 'guest'})
            case 6: d.text(a, f'{d.mark(a)} saw {d.mark(b)} once.')
            case 7: d.relate('home', new[0] if new else a, who[int(g.integers(0, 5))], new[0].start if new else day())
    if g.random()<.3: d.advance(u.now+int(g.integers(0, 40)))
    return d.proposal()

def test_auditor_and_rules_agree_on_random_histories(tmp_path):
    accepted = 0
    for seed in range(3):
        u, who = found(':memory:')
        g = np.random.default_rng(seed)
        ids = list(who.values())
        for i in range(350):
            try: u.commit(random_proposal(u, ids, g, f'random-{i}'))
            except Refused: continue
            accepted += 1
            if accepted%8==0: assert u.audit()==[]
            ids += [e.id for e in u.last('person', 1)]
        assert u.verify()==[]
    assert accepted>100

# --- idempotent, append-only, replayed

def inscribe(u, key, friend):
    "What a writer does, at its smallest"
    with u.snapshot():
        g, d, y = rng(key, u.head.n), u.draft(key), u.calendar.year_days
        d.advance(u.now+1)
        name = (' '.join(''.join(g.choice(list('bdfgklmnprstv'))+g.choice(list('aeiou')) for _ in range(3)).capitalize() for _ in 'ab') for _ in range(99))
        e = d.subject = d.person(name, u.now-int(g.integers(18, 60))*y)
        d.relate('friend', e, friend, u.now)
        d.claim(e, 'coat', 'green', 'observed')
        d.text(e, f'{d.mark(e)} came and met {d.mark(friend)}.')
    return d.proposal()

def sprite(i): return f'{i:032x}'

def persistent(u, key, friend):
    "Draft and commit, again where somebody was quicker"
    while True:
        try: return u.commit(inscribe(u, key, friend))
        except Refused as e:
            if not e.retry: raise

def test_same_sprite_comes_in_once(copy):
    u, who = copy
    p = inscribe(u, sprite(1), who['ilka'])
    first = u.commit(p)
    state = u.state()
    assert u.commit(p)==u.commit(inscribe(u, sprite(1), who['hana']))==first._replace(repeated=True)
    assert u.state()==state and u.sprite_of(first.subject)==sprite(1) and u.find(sprite(1)).n==first.n and u.locate(first.hash).n==first.n

def test_replay_and_fork_at_every_position(copy, tmp_path):
    u, who = copy
    states = [u.replay(at=0).state(), u.state()]
    for i in range(4): persistent(u, sprite(i), who['ilka']); states.append(u.state())
    for at, want in enumerate(states):
        with u.fork(tmp_path/f'{at}.db', at) as f: assert (f.state(), f.head.n, f.verify())==(want, at, [])
    with pytest.raises(SpriteDXError, match='no position'): u.fork(tmp_path/'x.db', 9)
    assert not (tmp_path/'x.db').exists()
    with pytest.raises(SpriteDXError, match='there already'): u.fork(tmp_path/'1.db')

def test_merge_takes_all_or_nothing(copy, tmp_path):
    u, who = copy
    with u.fork(tmp_path/'b.db') as b:
        for i in range(3): persistent(u, sprite(i), who['ilka'])
        theirs = [persistent(b, sprite(9+i), who['ilka']) for i in range(3)]
        assert u.merge(b)==3 and u.merge(b)==0 and u.verify()==[]
        assert all(u.locate(r.hash) and u.find(r.key)[:1]+u.find(r.key)[2:5]==r[:1]+r[2:5] for r in theirs)
        assert b.merge(u)==3 and b.verify()==[] and {r.key for r in u.entries()}=={r.key for r in b.entries()}
        for v, s in ((u, sprite(20)), (b, sprite(20))): persistent(v, s, who['ilka'])
        persistent(b, sprite(21), who['ilka'])
        before = contents(u.path)
        with pytest.raises(Refused) as e: u.merge(b)
        assert e.value.rules=={'overlap'} and contents(u.path)==before

def test_merge_asks_the_rules(copy):
    "Nothing is written twice, and still the two histories contradict each other"
    u, who = copy
    b = u.fork()
    d = u.draft('funeral'); d.end(who['piet'], u.now); u.commit(d.proposal())
    d = b.draft('feast'); d.advance(b.now+5); d.event('feast', b.now+5, who['town'], {who['piet']: 'guest'}); b.commit(d.proposal())
    with pytest.raises(Refused) as e: u.merge(b)
    assert e.value.rules=={'alive'} and 'entry 2 there' in str(e.value)
    assert u.verify()==[]

def hostile(lines, f):
    "A log in which the first text says something else, chained anew by somebody who knows how"
    head, *es = [json.loads(s) for s in lines]
    f(head, es)
    prev = es[0]['prev']
    for e in es:
        e['prev'] = prev
        e['hash'] = e['origin'] = prev = hashlib.sha256(_json([prev, e['n'], _json(e['body'])]).encode()).hexdigest()
    return ''.join(json.dumps(o)+'\n' for o in [head, *es])

def text_says(s): return lambda head, es: next(o for o in es[0]['body']['ops'] if o['op']=='text').update(body=s)

STRANGE = dict(script=text_says('<script>alert(1)</script>'), stranger=text_says('She met Garrick.'), dead=lambda head, es: next(o for o in es[0]['body']['ops'] if o['op']=='event').update(day=9),
    form=lambda head, es: es[0]['body']['ops'].append(dict(op='drop')), key=lambda head, es: es[0]['body'].update(base=[[1]]), months=lambda head, es: head.update(months=[['<b>', 0]]), id=lambda head, es: head.update(id='<b>'),
    begun=lambda head, es: head.update(begun='now'), era=lambda head, es: head.update(era=7), empty=lambda head, es: es.clear() or es.append(dict(n=1, prev='x', body={})))

@pytest.mark.parametrize('how', STRANGE)
def test_a_strangers_log_is_asked_every_rule(copy, tmp_path, how):
    from spritedx.codex import read_log, write_log
    lines = write_log(copy[0], tmp_path/'log.jsonl').read_text().splitlines()
    (tmp_path/'same.jsonl').write_text(hostile(lines, lambda head, es: None))
    assert read_log(tmp_path/'same.jsonl', ':memory:').state()==copy[0].state()
    (tmp_path/'bad.jsonl').write_text(hostile(lines, STRANGE[how]))
    with pytest.raises(SpriteDXError): read_log(tmp_path/'bad.jsonl', tmp_path/'bad.db')
    assert not (tmp_path/'bad.db').exists()

def test_a_log_that_was_changed_is_broken(copy, tmp_path):
    from spritedx.codex import read_log, write_log
    text = write_log(copy[0], tmp_path/'log.jsonl').read_text()
    (tmp_path/'log.jsonl').write_text(text.replace('"value": "miller"', '"value": "baker"'))
    with pytest.raises(SpriteDXError, match='broken at entry 1'): read_log(tmp_path/'log.jsonl', ':memory:')

# --- several processes

def crowd(path, friend, lot, results):
    with Universe.open(path, durable=False) as u: results.put([persistent(u, sprite(i), friend) for i in lot])

def test_four_processes_lose_nothing(copy):
    u, who = copy
    lots = [range(k*20, k*20+30) for k in range(4)] # neighbours share ten sprites
    ctx = mp.get_context('fork')
    results = ctx.Queue()
    ps = [ctx.Process(target=crowd, args=(u.path, who['ilka'], lot, results)) for lot in lots]
    for p in ps: p.start()
    got = [r for _ in ps for r in results.get(timeout=120)]
    for p in ps: p.join(60); assert p.exitcode==0
    keys = {sprite(i) for lot in lots for i in lot}
    assert {e.key for e in u.entries(1)}==keys and u.head.n==1+len(keys)
    assert sorted(r.n for r in got if not r.repeated)==list(range(2, 2+len(keys)))
    assert u.count('person')==8+len(keys) and u.verify()==[]

def test_draft_overtaken_says_so(copy):
    u, who = copy
    d = u.draft('slow'); d.person('Nils Torvik', u.now-9000); slow = d.proposal()
    d = u.draft('quick'); d.person('Nils Torvik', u.now-9000); u.commit(d.proposal())
    with pytest.raises(Refused) as e: u.commit(slow)
    assert e.value.rules=={'name_unique'} and e.value.retry

# --- death in the middle

def die(path, p, step):
    "In a child: commit, and be killed before the `step`-th statement"
    pid = os.fork()
    if pid: return os.waitpid(pid, 0)[1]
    try:
        u, n = Universe.open(path), 0
        def trace(_):
            nonlocal n
            n += 1
            if n==step: os.kill(os.getpid(), signal.SIGKILL)
        u.db.set_trace_callback(trace)
        u.commit(p)
    finally: os._exit(0)

def test_killed_before_every_statement(world, tmp_path):
    u, who = world
    path, p, seen = tmp_path/'k.db', inscribe(u, sprite(1), who['ilka']), set()
    for step in range(1, 200):
        for s in ('-wal', '-shm'): Path(f'{path}{s}').unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        u.fork(path).close()
        status = die(path, p, step)
        with Universe.open(path) as k:
            seen.add(k.head.n)
            assert k.head.n==(1 if os.WIFSIGNALED(status) else 2)
            assert k.audit()==[] and (step%7 or k.verify()==[])
            if os.WIFSIGNALED(status): assert k.commit(p).n==2 and k.verify()==[]
        if not os.WIFSIGNALED(status): break
    assert seen=={1, 2} and step>20

def test_killed_at_any_moment(copy):
    "Children that commit without end, killed after some milliseconds; whatever they had told of is there"
    u, who = copy
    for k in range(6):
        r, w = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                with Universe.open(u.path, durable=False) as c:
                    for i in range(10**6): os.write(w, persistent(c, sprite(1000*k+i), who['ilka']).hash.encode())
            finally: os._exit(0)
        os.close(w)
        told = os.read(r, 64)
        time.sleep(random.Random(k).uniform(0, .1))
        os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)
        while part := os.read(r, 1<<16): told += part
        os.close(r)
        hashes = [told[i:i+64].decode() for i in range(0, len(told)-63, 64)]
        assert hashes and all(u.locate(h) for h in hashes)
    assert u.verify()==[]

def test_log_cut_anywhere(copy, tmp_path):
    "The power fails while the write-ahead log is written: the commit is whole or absent"
    u, who = copy
    wal, cut = Path(f'{u.path}-wal'), tmp_path/'cut'
    persistent(u, sprite(1), who['ilka'])
    start, n = wal.stat().st_size, u.head.n
    persistent(u, sprite(2), who['ilka'])
    data, got = wal.read_bytes(), []
    for end in [*range(start, len(data), 2060), len(data)-1, len(data)]:
        cut.mkdir(exist_ok=True)
        shutil.copy(u.path, cut/'u.db'); (cut/'u.db-wal').write_bytes(data[:end])
        with Universe.open(cut/'u.db') as c:
            got.append(c.head.n)
            assert c.head.n in (n, n+1) and c.audit()==[] and c.chain()==[]
        shutil.rmtree(cut)
    assert got[-1]==n+1 and set(got[:-1])=={n}

def test_full_disk_changes_nothing(copy):
    u, who = copy
    p, before = inscribe(u, sprite(1), who['ilka']), u.state()
    u.db.execute(f'PRAGMA max_page_count={u.one("PRAGMA page_count")}')
    with pytest.raises(SpriteDXError, match='nothing was changed'): 
        for i in range(50): u.commit(inscribe(u, sprite(i), who['ilka']))
    assert u.verify()==[] and not u.db.in_transaction

# --- files that are no universes, or not ours

@pytest.mark.parametrize('make', [lambda p: p.write_bytes(b''), lambda p: p.write_bytes(b'SQLite format 3\0'+bytes(4000)), lambda p: p.write_text('hello'), lambda p: p.mkdir(), lambda p: None,
                                  lambda p: sqlite3.connect(p).executescript('CREATE TABLE universe(id); INSERT INTO universe VALUES(1)')], ids=['empty', 'damaged', 'text', 'folder', 'nothing', 'other'])
def test_other_files_are_refused(tmp_path, make):
    make(tmp_path/'x.db')
    with pytest.raises(SpriteDXError, match='no universe|not a universe'): Universe.open(tmp_path/'x.db')

@pytest.mark.parametrize('sql', ["CREATE TRIGGER evil AFTER INSERT ON log BEGIN DELETE FROM claim; END", "DROP TRIGGER log_stays", "CREATE VIEW v AS SELECT 1", "PRAGMA user_version=9",
                                 "DROP INDEX alias_look", "UPDATE universe SET calendar='[]'"])
def test_universe_with_foreign_parts_is_refused(copy, sql):
    u, _ = copy
    u.db.execute(sql)
    with pytest.raises(SpriteDXError, match='not a universe'): Universe.open(u.path)

def test_file_of_version_1_goes_on(tmp_path, monkeypatch):
    "It is opened and written as it is, its fork has today's layout, and both stay the same universe"
    monkeypatch.setattr('spritedx.universe._version', 1)
    u, who = found(tmp_path/'old.db')
    u.close(); monkeypatch.undo()
    with Universe.open(tmp_path/'old.db') as old, old.fork(tmp_path/'new.db') as new:
        assert [o.one('PRAGMA user_version') for o in (old, new)]==[1, 2]
        assert [' WITHOUT ROWID' in o.one("SELECT sql FROM sqlite_master WHERE name='text'") for o in (old, new)]==[True, False]
        for o in (old, new): o.commit(inscribe(o, sprite(3), who['ilka']))
        assert old.state()==new.state() and old.verify()==new.verify()==[]
        assert all(old.naming(i)==new.naming(i) for i in who.values()) and old.naming(who['hana'])

def test_who_is_named_follows_the_log(copy):
    "Also what another process wrote, and not what was taken back"
    u, who = copy
    def told(o, key):
        d = o.draft(key)
        d.text(who['ilka'], f'{d.mark(who["mira"])} came by.')
        return d.proposal()
    assert u.mentions_of(who['mira'])==[]
    u.db.execute('BEGIN'); p = told(u, 'never'); u._write(u._laid_out(p), p)
    assert len(u.mentions_of(who['mira']))==1
    u.db.execute('ROLLBACK')
    with Universe.open(u.path) as other: other.commit(told(other, 'once')); other.commit(told(other, 'twice'))
    assert u.mentions_of(who['mira'])==[t for t, in u.q('SELECT text FROM mention WHERE entity=? ORDER BY log', who['mira'])] and len(u.mentions_of(who['mira']))==2

def test_leftovers_of_a_removed_universe_do_no_harm(tmp_path):
    u, _ = found(tmp_path/'a.db')
    shutil.copy(f'{u.path}-wal', tmp_path/'b.db-wal')
    with Universe.new(tmp_path/'b.db') as v: assert v.head.n==0

@pytest.mark.parametrize('name', ['', 'x'*49, '<b>', 'a\u202eb', '[[x]]'])
def test_universe_needs_a_name(tmp_path, name):
    with pytest.raises(SpriteDXError, match='name'): Universe.new(tmp_path/'n.db', name)
    assert list(tmp_path.iterdir())==[]

def test_same_seed_same_universe(tmp_path):
    a, b = Universe.new(':memory:', 'A', 3), Universe.new(tmp_path/'b.db', 'A', 3)
    assert a.state()==b.state() and a.id==b.id and Universe.new(':memory:', 'A', 4).id!=a.id

def test_every_index_is_used(copy):
    "What a writer asks is answered without looking at every row"
    u, who = copy
    plans = []
    class Spy:
        def __init__(self, db): self.db = db
        def execute(self, sql, args=()):
            if sql.startswith('SELECT'): plans.extend((sql, r[3]) for r in self.db.execute('EXPLAIN QUERY PLAN '+sql, args))
            return self.db.execute(sql, args)
        def __getattr__(self, k): return getattr(self.db, k)
    u.db = Spy(u.db)
    g = rng(1)
    u.context(g, who['town']); u.relations(who['town'], g=g); u.events(who['hana']); u.events(who['town']); u.where(who['hana'], u.now); u.texts(who['hana'])
    u.mentions_of(who['hana']); u.stubs(); u.named('Hana Orun'); u.find('x'); u.locate('x'); u.sprite_of(who['hana']); u.commit(inscribe(u, sprite(3), who['ilka']))
    asked = {p for p in plans if 'universe' not in p[1]}
    assert len(asked)>20
    bad = {(s, p) for s, p in asked if 'SCAN' in p and 'VIRTUAL' not in p or re.search(r'\(u=\?\)$', p) and 'ORDER BY n DESC' not in s}
    assert bad==set()
