// Before, after and truth on one stage: split, side by side, difference, blink; zoom, pan, inspection, playback.

const MODES = ['split', 'side by side', 'difference', 'blink']
const COMPARE_HELP = [['[ ]', 'move the split'], ['s m d b', 'split, side by side, difference, blink'], ['x', 'swap left and right'], ['c', 'next picture on the right'],
  ['+ − 0 1', 'zoom in, out, fit, one to one'], ['arrows', 'inspect the next pixel'], ['Shift arrows', 'pan'], ['k', 'next backdrop'], ['g', 'pixel grid'],
  ['space , .', 'play, frame back, frame on'], ['?', 'this help']]

function renderCompare({ model, el, extra }) {
  const life = new AbortController(), signal = life.signal, save = saver(model, signal)
  const root = rootOf(el, 'compare', signal)
  let pics = {}, names = [], heat = null, heatKey = '', blinkOn = false, blinker, player, dragging = null, gone = false, kept = null
  const get = k => model.get(k), frame = () => get('frame')
  const left = () => pics[get('left')], right = () => pics[get('right')]
  const frames = () => Math.max(1, ...Object.values(pics).map(p => p.frames.length))
  const home = () => pics.after || pics.truth || Object.values(pics)[0]

  const stage = new Stage({
    height: get('height'), label: 'Comparison. Press ? for keys.', signal,
    panes: () => get('mode') === 'side by side' ? Math.max(1, names.length) : 1,
    bounds: () => names.length ? union(Object.values(pics).map(p => p.place)) : [0, 0, 0, 0],
    moved: () => { save({ camera: stage.cam || [] }); touch() },
    paint: (pane, i) => {
      const mode = get('mode'), L = left(), R = right()
      if (!L || !R) return
      if (mode === 'side by side') stage.layer(pane, pics[names[i]], frame())
      else if (mode === 'blink') stage.layer(pane, blinkOn ? R : L, frame())
      else if (mode === 'difference') stage.layer(pane, heatMap(), 0)
      else splitPane(pane, L, R)
      const c = get('cursor')
      if (c.length && (pane.s >= 4 || document.activeElement === stage.canvas)) stage.outline(pane, c[0], c[1])
    },
  })
  function splitPane(pane, L, R) {
    const { g, height, width } = pane, x = Math.round(get('split') * width)
    for (const [pic, from, to] of [[L, 0, x], [R, x, width]]) {
      g.save(); g.beginPath(); g.rect(from, 0, to - from, height); g.clip()
      stage.layer(pane, pic, frame()); g.restore()
    }
    const d = stage.dpr
    g.fillStyle = 'rgba(0,0,0,.6)'; g.fillRect(x - 1.5 * d, 0, 3 * d, height)
    g.fillStyle = '#fff'; g.fillRect(x - .5 * d, 0, d, height)
  }
  function heatMap() {
    const L = left(), R = right(), key = [get('left'), get('right'), frame()].join()
    if (heat && key === heatKey) return heat
    const [X, Y, W, H] = home().place.map(Math.round), out = new Uint8ClampedArray(W * H * 4), seen = new Map()
    for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) {
      const p = pixelAt(L, frame(), X + x, Y + y), q = pixelAt(R, frame(), X + x, Y + y), k = `${p}|${q}`
      let d = seen.get(k)
      if (d === undefined) seen.set(k, d = difference(p, q))
      if (d !== null) out.set([...heatColour(d), 255], (y * W + x) * 4)
    }
    heatKey = key
    return heat = { w: W, h: H, place: [X, Y, W, H], frames: [asFrame(out, W, H)] }
  }

  // -- the bar above, the slider over the picture, the lines below
  const handle = make('div', { class: 'sdx-handle', tabIndex: 0, role: 'slider', 'aria-label': 'Split', 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-orientation': 'horizontal' }, '⇔')
  const tags = [make('span', { class: 'sdx-tag' }), make('span', { class: 'sdx-tag sdx-tag-right' })]
  const legend = make('div', { class: 'sdx-legend', hidden: true }, make('span', {}, 'ΔE 0'), make('i', { style: `background:linear-gradient(90deg,${RAMP.map(([v, c]) => `${hex(...c)} ${v * 5}%`).join()})` }),
    make('span', {}, '20'), make('b', { style: 'background:#f0f' }), make('span', {}, 'only in one'))
  const screen = make('div', { class: 'sdx-screen' }, stage.canvas, handle, ...tags, legend)
  const modes = MODES.map((m, i) => button(['◧', '▥', '▦', '◑'][i], m[0].toUpperCase() + m.slice(1), () => setMode(m), 'smdb'[i]))
  const lefts = make('select', { class: 'sdx-select', 'aria-label': 'Left picture', onchange: e => show({ left: e.target.value }) })
  const rights = make('select', { class: 'sdx-select', 'aria-label': 'Right picture', onchange: e => show({ right: e.target.value }) })
  const backs = choice('Backdrop', BACKDROPS, () => get('backdrop'), v => show({ backdrop: v }))
  const help = helpBox(COMPARE_HELP)
  const zoomText = make('output', { class: 'sdx-zoom', 'aria-label': 'Zoom' })
  const bar = make('div', { class: 'sdx-bar', role: 'toolbar', 'aria-label': 'Comparison' }, ...modes, lefts, rights, backs,
    button('−', 'Zoom out', () => stage.zoom(false), '-'), zoomText, button('+', 'Zoom in', () => stage.zoom(true), '+'), button('⤢', 'Fit', () => stage.fit(), '0'),
    button('?', 'Keys', () => { help.hidden = !help.hidden }, '?'))
  const told = make('div', { class: 'sdx-told', 'aria-live': 'polite' }, 'Point at a pixel, or press an arrow key.')
  const play = button('▶', 'Play', () => show({ playing: !get('playing') }), 'space')
  const scrub = make('input', { class: 'sdx-scrub', type: 'range', min: 0, value: 0, 'aria-label': 'Frame', oninput: e => show({ frame: +e.target.value, playing: false }) })
  const count = make('output', { class: 'sdx-count' })
  const film = make('div', { class: 'sdx-bar sdx-film', hidden: true }, play, scrub, count)
  root.append(bar, help, screen, film, told)
  if (extra) root.append(extra)

  function show(values) { save(values); heat = null; touch(); stage.draw() }
  // where there is a truth, it is the result's difference from it that is asked for
  function setMode(m) {
    const pair = { left: get('left'), right: get('right') }, away = get('mode') === 'difference' && m !== 'difference'
    if (m === 'difference' && get('mode') !== m && pics.truth && pair.left === 'before') { kept = pair; show({ mode: m, left: 'after', right: 'truth' }) }
    else { show({ mode: m, ...(away && kept ? kept : {}) }); if (away) kept = null }
  }
  function cycle(list, now, by = 1) { return list[(list.indexOf(now) + by + list.length) % list.length] }

  function touch() {
    if (gone) return
    const mode = get('mode'), n = frames(), two = mode === 'split' || mode === 'difference' || mode === 'blink'
    modes.forEach((b, i) => b.setAttribute('aria-pressed', MODES[i] === mode))
    lefts.value = get('left'); rights.value = get('right'); backs.value = get('backdrop')
    stage.backdrop = get('backdrop'); stage.grid = get('grid')
    const x = Math.round(get('split') * 1000) / 10
    handle.style.left = `${x}%`; handle.hidden = mode !== 'split'; handle.setAttribute('aria-valuenow', Math.round(x))
    legend.hidden = mode !== 'difference'; lefts.hidden = rights.hidden = !two
    tags[0].textContent = mode === 'split' ? get('left') : mode === 'blink' ? (blinkOn ? get('right') : get('left')) : mode === 'difference' ? `${get('left')} − ${get('right')}` : names.join('   |   ')
    tags[1].textContent = mode === 'split' ? get('right') : ''
    film.hidden = n < 2; scrub.max = n - 1; scrub.value = frame(); count.textContent = `${frame() + 1} / ${n}`
    play.textContent = get('playing') ? '❚❚' : '▶'; play.setAttribute('aria-label', get('playing') ? 'Pause' : 'Play')
    if (names.length) zoomText.textContent = `${+(stage.view[2] * 100).toFixed(0)} %`
    // a page is scrolled through the picture where the whole of it is seen
    stage.canvas.style.touchAction = stage.isFit ? 'pan-y' : 'none'
    blink(mode === 'blink'); run(get('playing') && n > 1)
  }
  function blink(on) {
    if (on && !blinker) blinker = setInterval(() => { blinkOn = !blinkOn; tags[0].textContent = blinkOn ? get('right') : get('left'); stage.draw() }, 500)
    if (!on && blinker) { clearInterval(blinker); blinker = null }
  }
  function run(on) {
    if (!on) { clearTimeout(player); player = null; return }
    if (player) return
    const step = () => {
      const next = (frame() + 1) % frames(), ms = get('durations')[frame()] || 100
      player = setTimeout(() => { model.set('frame', next); heat = null; scrub.value = next; count.textContent = `${next + 1} / ${frames()}`; stage.draw(); if (get('playing')) step(); else model.save_changes() }, ms)
    }
    step()
  }
  function inspect(x, y) {
    const [X, Y, W, H] = stage.bounds()
    x = clamp(x, Math.floor(X), Math.ceil(X + W) - 1); y = clamp(y, Math.floor(Y), Math.ceil(Y + H) - 1)
    save({ cursor: [x, y] }); tell(); stage.draw()
  }
  function tell() {
    const c = get('cursor')
    if (!c.length || !names.length) return
    const at = Object.fromEntries(names.map(n => [n, pixelAt(pics[n], frame(), ...c)]))
    told.replaceChildren(make('span', { class: 'sdx-at' }, `x ${c[0]}  y ${c[1]}`))
    for (const n of names) {
      const p = at[n]
      told.append(make('span', { class: 'sdx-pixel' }, make('i', { style: p && p[3] ? `background:rgba(${p[0]},${p[1]},${p[2]},${p[3] / 255})` : '' }), `${n} ${p ? `${hex(p[0], p[1], p[2])} rgba(${p.join(', ')})` : 'outside'}`))
    }
    const d = difference(at[get('left')], at[get('right')])
    told.append(make('span', { class: 'sdx-delta' }, d === null ? 'ΔE –' : d === Infinity ? 'only in one' : `ΔE ${d.toFixed(2)}`))
  }

  // -- pointer: the split where it is near or where nothing can be panned, else the picture; two fingers zoom
  const canvas = stage.canvas
  const near = sx => Math.abs(sx - get('split') * canvas.clientWidth) < 14
  function down(e) {
    stage.pointers.set(e.pointerId, stage.at(e))
    const [sx, sy] = stage.at(e), splits = get('mode') === 'split' && e.button === 0 && (e.currentTarget === handle || near(sx) || stage.isFit)
    dragging = stage.pointers.size > 1 ? { kind: 'pinch', apart: apart() } : { kind: splits ? 'split' : 'pan', sx, sy, moved: false }
    e.currentTarget.setPointerCapture(e.pointerId)
    if (splits && near(sx)) canvas.style.cursor = 'ew-resize'
  }
  function apart() { const [a, b] = [...stage.pointers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]) }
  function move(e) {
    const [sx, sy] = stage.at(e)
    if (stage.pointers.has(e.pointerId)) stage.pointers.set(e.pointerId, [sx, sy])
    if (!dragging) { canvas.style.cursor = get('mode') === 'split' && near(sx) ? 'ew-resize' : 'crosshair'; if (names.length && e.currentTarget === canvas) inspect(...stage.native(e)); return }
    if (dragging.kind === 'pinch') { if (stage.pointers.size < 2) return; const now = apart(), k = now / dragging.apart; if (k > 1.2 || k < .83) { stage.zoom(k > 1, sx, sy); dragging.apart = now } return }
    if (dragging.kind === 'split') { save({ split: clamp(sx / canvas.clientWidth, 0, 1) }); touch(); stage.draw() }
    else { stage.pan(dragging.sx - sx, dragging.sy - sy); dragging.sx = sx; dragging.sy = sy }
  }
  function up(e) { stage.pointers.delete(e.pointerId); dragging = null; canvas.style.cursor = 'crosshair' }
  for (const t of [canvas, handle]) {
    t.addEventListener('pointerdown', down, { signal }); t.addEventListener('pointermove', move, { signal })
    t.addEventListener('pointerup', up, { signal }); t.addEventListener('pointercancel', up, { signal })
  }
  canvas.addEventListener('dblclick', e => stage.zoom(true, ...stage.at(e)), { signal })

  // -- keys
  const slide = by => show({ split: clamp(get('split') + by, 0, 1) })
  const step = (dx, dy) => { const c = get('cursor'), [x, y] = c.length ? c : stage.view.slice(0, 2).map(Math.floor); inspect(x + (c.length ? dx : 0), y + (c.length ? dy : 0)) }
  const far = () => canvas.clientHeight / 8
  const turn = by => show({ frame: (frame() + by + frames()) % frames(), playing: false })
  const keys = {
    '[': () => slide(-.02), ']': () => slide(.02), '{': () => slide(-.1), '}': () => slide(.1),
    s: () => setMode('split'), m: () => setMode('side by side'), d: () => setMode('difference'), b: () => setMode('blink'),
    x: () => show({ left: get('right'), right: get('left') }), c: () => show({ right: cycle(names, get('right')) }),
    k: () => show({ backdrop: cycle(BACKDROPS, get('backdrop')) }), g: () => show({ grid: !get('grid') }),
    '+': () => stage.zoom(true), '=': () => stage.zoom(true), '-': () => stage.zoom(false), 0: () => stage.fit(),
    1: () => stage.look([...stage.view.slice(0, 2), 1 / stage.dpr]),
    ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0), ArrowUp: () => step(0, -1), ArrowDown: () => step(0, 1),
    'Shift+ArrowLeft': () => stage.pan(-far(), 0), 'Shift+ArrowRight': () => stage.pan(far(), 0), 'Shift+ArrowUp': () => stage.pan(0, -far()), 'Shift+ArrowDown': () => stage.pan(0, far()),
    ' ': () => show({ playing: !get('playing') }), ',': () => turn(-1), '.': () => turn(1), '?': () => { help.hidden = !help.hidden },
  }
  keyed(handle, e => {
    const by = { ArrowLeft: -.02, ArrowRight: .02, PageDown: -.1, PageUp: .1, Home: -1, End: 1 }[e.key]
    if (by) { e.preventDefault(); slide(by) }
  })
  onKeys(root, keys)

  // -- what Python says
  async function load() {
    const got = await decodePictures(get('pictures'))
    if (gone) return
    const first = !names.length
    pics = got; names = Object.keys(pics); heat = null
    for (const [s, k] of [[lefts, 'left'], [rights, 'right']]) {
      s.replaceChildren(...names.map(n => make('option', { value: n }, n)))
      if (!(get(k) in pics) && names.length) model.set(k, names[k === 'left' ? 0 : Math.min(1, names.length - 1)])
    }
    if (first) { const c = get('camera'); stage.cam = c && c.length ? c : null }
    if (frame() >= frames()) model.set('frame', 0)
    root.dataset.ready = names.length ? 'true' : 'false'
    touch(); tell(); stage.now()
  }
  const redraw = () => { heat = null; touch(); tell(); stage.draw() }
  watch(model, ['pictures'], load, signal)
  watch(model, ['left', 'right', 'mode', 'backdrop', 'split', 'frame', 'playing', 'grid', 'cursor'], redraw, signal)
  watch(model, ['camera'], () => { const c = get('camera'), now = stage.cam || []; if (c.join() !== now.join()) { stage.cam = c.length ? c : null; stage.draw(); touch() } }, signal)
  load()
  return () => { gone = true; life.abort(); clearInterval(blinker); clearTimeout(player); el.replaceChildren() }
}
