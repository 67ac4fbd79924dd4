// One pair after the other: what was given on the left, the result on the right, mended by hand, accepted or rejected.

const TOOLS = [['erase', 'e', 'Make transparent'], ['opaque', 'p', 'Make opaque, with the colour that was given there'], ['pencil', 'c', 'Draw in the chosen colour'], ['recolour', 'f', 'All pixels of this colour into the chosen one'], ['pick', 'i', 'Choose a colour']]
const REVIEW_HELP = [['a r', 'accept, reject'], ['n N', 'next, previous pair'], ['e p c f i', 'erase, opaque, pencil, recolour, pick'], ['arrows', 'move the pixel cursor'], ['Enter', 'use the tool there'],
  ['[ ]', 'brush smaller, larger'], ['z y', 'undo, redo'], ['+ − 0', 'zoom'], ['Shift arrows', 'pan'], ['k', 'next backdrop'], ['?', 'this help']]

function renderReview({ model, el }) {
  const life = new AbortController(), signal = life.signal, save = saver(model, signal, 0), get = k => model.get(k)
  const root = rootOf(el, 'review', signal)
  let given = null, data = null, work = null, first = null, tool = 'erase', size = 1, past = [], future = [], cursor = null, drawing = false, panning = null, gone = false, colour = '#000000'
  const stage = new Stage({
    height: get('height'), label: 'Given and result. Press ? for keys.', signal, panes: () => 2, bounds: () => work ? work.place : [0, 0, 0, 0],
    paint: (pane, i) => { if (!work) return; stage.layer(pane, i ? work : given, 0); if (cursor) stage.outline(pane, cursor[0] - (size - 1 >> 1), cursor[1] - (size - 1 >> 1), size, size) },
  })
  const help = helpBox(REVIEW_HELP), picker = make('input', { type: 'color', 'aria-label': 'Colour', oninput: () => { colour = picker.value } })
  const tools = TOOLS.map(([t, key, title]) => button(t, title, () => { tool = t; bar() }, key))
  const brush = make('output', { 'aria-label': 'Brush' }), where = make('output', { class: 'sdx-count', 'aria-live': 'polite' }), told = make('div', { class: 'sdx-told', 'aria-live': 'polite' })
  root.append(make('div', { class: 'sdx-bar', role: 'toolbar' }, button('✓ accept', 'Accept: write the pair', () => judge('accepted'), 'a'), button('✗ reject', 'Reject', () => judge('rejected'), 'r'), button('‹', 'Previous', () => go(-1), 'N'), where, button('›', 'Next', () => go(1), 'n')),
    make('div', { class: 'sdx-bar', role: 'toolbar' }, ...tools, picker, button('−', 'Smaller brush', () => grow(-1), '['), brush, button('+', 'Larger brush', () => grow(1), ']'), button('↶', 'Undo', () => undo(), 'z'), button('↷', 'Redo', () => redo(), 'y'), button('⤢', 'Fit', () => stage.fit(), '0'), button('?', 'Keys', () => { help.hidden = !help.hidden }, '?')),
    help, make('div', { class: 'sdx-screen' }, stage.canvas, make('span', { class: 'sdx-tag' }, 'given'), make('span', { class: 'sdx-tag sdx-tag-right' }, 'result')), told)

  function grow(by) { size = clamp(size + by, 1, 32); bar(); stage.draw() }
  function bar() {
    tools.forEach((b, i) => b.setAttribute('aria-pressed', String(TOOLS[i][0] === tool)))
    brush.textContent = `${size} px`; picker.value = colour
    const n = get('names'), i = get('index'), v = get('verdicts')
    where.textContent = n.length ? `${i + 1} / ${n.length} ${n[i]}${v[n[i]] ? `: ${v[n[i]]}` : ''}` : 'nothing to review'
  }
  function refresh() { work = { ...work, frames: [asFrame(data, work.w, work.h)] }; stage.draw() }
  function mark() { past.push(data.slice()); if (past.length > 100) past.shift(); future = [] }
  function undo() { if (past.length) { future.push(data); data = past.pop(); refresh() } }
  function redo() { if (future.length) { past.push(data); data = future.pop(); refresh() } }
  function dab(x, y) {
    const o = (y * work.w + x) * 4
    if (tool === 'erase') data.fill(0, o, o + 4)
    else if (tool === 'pencil') data.set([...unhex(colour), 255], o)
    else if (tool === 'opaque' && data[o + 3] < 255) {
      const was = data[o + 3] ? data.slice(o, o + 3) : first[o + 3] ? first.slice(o, o + 3) : (pixelAt(given, 0, x, y) || [0, 0, 0]).slice(0, 3)
      data.set([...was, 255], o)
    }
  }
  function use(x, y) {
    if (!work || x < 0 || y < 0 || x >= work.w || y >= work.h) return
    const o = (y * work.w + x) * 4
    if (tool === 'pick') {
      const p = data[o + 3] ? [...data.slice(o, o + 3)] : pixelAt(given, 0, x, y) || [0, 0, 0]
      colour = hex(p[0], p[1], p[2]); tool = 'pencil'; bar(); return
    }
    if (tool === 'recolour') {
      if (!data[o + 3]) return
      const [r, g, b] = data.slice(o, o + 3), n = unhex(colour)
      for (let i = 0; i < data.length; i += 4) if (data[i + 3] && data[i] === r && data[i + 1] === g && data[i + 2] === b) data.set(n, i)
    } else {
      const h = size - 1 >> 1
      for (let v = y - h; v < y - h + size; v++) for (let u = x - h; u < x - h + size; u++) if (u >= 0 && v >= 0 && u < work.w && v < work.h) dab(u, v)
    }
    refresh()
  }
  function changed() { let n = 0; for (let i = 0; i < data.length; i += 4) if (data[i] !== first[i] || data[i + 1] !== first[i + 1] || data[i + 2] !== first[i + 2] || data[i + 3] !== first[i + 3]) n++; return n }
  function judge(verdict) {
    if (!work) return
    if (model.alone) { told.textContent = 'A verdict needs a running notebook.'; return }
    told.textContent = 'writing …'
    model.send({ verdict, name: root.dataset.ready, w: work.w, h: work.h, changed: changed() }, undefined, [data.slice().buffer])
  }
  function go(by) { const i = clamp(get('index') + by, 0, get('names').length - 1); if (i !== get('index')) save({ index: i }) }
  function aim(x, y) { cursor = [clamp(x, 0, work.w - 1), clamp(y, 0, work.h - 1)]; stage.draw() }

  const canvas = stage.canvas
  canvas.addEventListener('pointerdown', e => {
    if (!work) return
    canvas.setPointerCapture(e.pointerId)
    if (e.button !== 0 || e.shiftKey) { panning = stage.at(e); return }
    drawing = true; mark(); aim(...stage.native(e)); use(...stage.native(e))
  }, { signal })
  canvas.addEventListener('pointermove', e => {
    if (!work) return
    if (panning) { const now = stage.at(e); stage.pan(panning[0] - now[0], panning[1] - now[1]); panning = now; return }
    const from = cursor, [x, y] = stage.native(e)
    aim(x, y)
    if (!drawing || ['pick', 'recolour'].includes(tool)) return
    const n = from ? Math.max(Math.abs(x - from[0]), Math.abs(y - from[1]), 1) : 1 // a fast hand leaves no gaps
    for (let i = 1; i <= n; i++) use(from ? Math.round(from[0] + (x - from[0]) * i / n) : x, from ? Math.round(from[1] + (y - from[1]) * i / n) : y)
  }, { signal })
  for (const k of ['pointerup', 'pointercancel']) canvas.addEventListener(k, () => { drawing = false; panning = null }, { signal })
  canvas.addEventListener('contextmenu', e => e.preventDefault(), { signal })
  const step = (dx, dy) => { if (work) aim(...(cursor ? [cursor[0] + dx, cursor[1] + dy] : [work.w >> 1, work.h >> 1])) }, far = 40
  const keys = { a: () => judge('accepted'), r: () => judge('rejected'), n: () => go(1), N: () => go(-1), z: undo, y: redo, '[': () => grow(-1), ']': () => grow(1), Enter: () => { if (cursor) { mark(); use(...cursor) } },
    '+': () => stage.zoom(true), '=': () => stage.zoom(true), '-': () => stage.zoom(false), 0: () => stage.fit(), k: () => { stage.backdrop = BACKDROPS[(BACKDROPS.indexOf(stage.backdrop) + 1) % 4]; stage.draw() }, '?': () => { help.hidden = !help.hidden },
    ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0), ArrowUp: () => step(0, -1), ArrowDown: () => step(0, 1),
    'Shift+ArrowLeft': () => stage.pan(-far, 0), 'Shift+ArrowRight': () => stage.pan(far, 0), 'Shift+ArrowUp': () => stage.pan(0, -far), 'Shift+ArrowDown': () => stage.pan(0, far) }
  for (const [t, key] of TOOLS) keys[key] = () => { tool = t; bar() }
  onKeys(root, keys)

  async function load() {
    const ps = await decodePictures(get('pictures'))
    if (gone) return
    given = ps.before; work = ps.after; past = []; future = []; cursor = null; stage.cam = null
    if (work) { data = work.frames[0].data.slice(); first = data.slice() }
    root.dataset.ready = work ? get('shown') : 'none'
    bar(); stage.now()
  }
  watch(model, ['pictures', 'shown'], load, signal)
  watch(model, ['verdicts', 'index', 'names'], bar, signal)
  watch(model, ['said'], () => { told.textContent = get('said') }, signal)
  load(); bar()
  return () => { gone = true; life.abort(); el.replaceChildren() }
}
