// The colours of a sprite: merge, lock, replace, reduce; the result follows at once.

const PALETTE_HELP = [['arrows', 'next colour'], ['space', 'select it, or not'], ['m', 'merge what is selected into the one in focus'], ['l', 'lock or unlock'], ['r', 'replace by another colour'],
  ['− +', 'fewer colours, more colours'], ['u', 'undo'], ['o', 'the original, while held'], ['k', 'next backdrop'], ['?', 'this help']]

function renderPalette({ model, el }) {
  const life = new AbortController(), signal = life.signal, save = saver(model, signal, 40), get = k => model.get(k)
  const root = rootOf(el, 'palette', signal)
  let base = null, index = null, colors = get('colors'), now = [...get('now')], to = [...get('to')], locked = [...get('locked')], focus = 0, original = false, past = [], gone = false, shown = null, own = false
  const selected = new Set(), swatches = make('div', { class: 'sdx-swatches', role: 'group', 'aria-label': 'Colours' }), told = make('div', { class: 'sdx-told', 'aria-live': 'polite' })
  const stage = new Stage({ height: get('height'), label: 'Sprite in the palette being edited', signal, bounds: () => base ? base.place : [0, 0, 0, 0], paint: pane => { if (base) stage.layer(pane, original ? base : shown, 0) } })
  const help = helpBox(PALETTE_HELP), picker = make('input', { type: 'color', 'aria-label': 'New colour', onchange: () => replace(picker.value) })
  const few = make('input', { type: 'number', min: 1, 'aria-label': 'Number of colours', style: 'width:70px', onchange: () => reduce(+few.value) })
  const root_of = i => { while (to[i] !== i) i = to[i]; return i }
  const alive = () => colors.map((_, i) => i).filter(i => to[i] === i)

  root.append(make('div', { class: 'sdx-bar', role: 'toolbar' }, button('merge', 'Merge the selected into the one in focus', () => merge(), 'm'), button('lock', 'Lock or unlock', () => lock(), 'l'), button('replace', 'Replace by the colour beside', () => replace(picker.value), 'r'),
    picker, few, button('undo', 'Undo', () => undo(), 'u'), button('?', 'Keys', () => { help.hidden = !help.hidden }, '?')), help,
    make('div', { class: 'sdx-two' }, make('div', { class: 'sdx-screen' }, stage.canvas), make('div', {}, swatches, told)))

  function keep() { past.push(JSON.stringify([now, to, locked])); if (past.length > 200) past.shift() }
  function commit() { const all = { now: [...now], to: [...to], locked: [...locked] }; own = true; save(all); own = false; draw() }
  function undo() { if (past.length) { [now, to, locked] = JSON.parse(past.pop()); selected.clear(); commit() } }
  function merge() {
    const target = focus, from = [...selected].filter(i => i !== target && to[i] === i)
    const held = from.filter(i => locked[i])
    if (held.length) { told.textContent = `${now[held[0]]} is locked; unlock it to merge it away`; return }
    if (!from.length) { told.textContent = 'select what goes away with space, then press m on what stays'; return }
    keep(); for (const i of from) to[i] = target
    selected.clear(); commit()
  }
  function lock() { keep(); const all = selected.size ? [...selected] : [focus], v = !all.every(i => locked[i]); for (const i of all) locked[i] = v; commit() }
  function replace(c) {
    if (locked[focus]) { told.textContent = `${now[focus]} is locked; unlock it to replace it`; return }
    keep(); now[focus] = c.toLowerCase(); commit()
  }
  // the two nearest go together until n are left, the rarer into the more frequent; what is locked stays
  function reduce(n) {
    const count = weights(); keep(); let left = alive()
    while (left.length > Math.max(1, n)) {
      let best = null
      for (const a of left) if (!locked[a]) for (const b of left) if (a !== b && (locked[b] || count[b] > count[a] || (count[b] === count[a] && b < a))) {
        const d = deltaE(unhex(now[a]), unhex(now[b])) * Math.sqrt(count[a])
        if (!best || d < best[0]) best = [d, a, b]
      }
      if (!best) { told.textContent = 'the rest is locked'; break }
      to[best[1]] = best[2]; count[best[2]] += count[best[1]]; left = alive()
    }
    if (!left.includes(focus)) focus = left[0]
    selected.clear(); commit()
  }
  function weights() { const n = colors.map(() => 0); get('counts').forEach((c, i) => { n[root_of(i)] += c }); return n }
  function move(by) { const a = alive(); focus = a[clamp(a.indexOf(focus) + by, 0, a.length - 1)]; draw(); boxes[focus].focus() }
  function pick(i, only) { focus = i; if (!only) selected.has(i) ? selected.delete(i) : selected.add(i); draw(); boxes[i].focus() }
  const boxes = colors.map((_, i) => make('button', { class: 'sdx-swatch', type: 'button', role: 'checkbox', 'data-i': String(i), onclick: e => pick(i, !(e.shiftKey || e.ctrlKey || e.metaKey)) }))
  swatches.append(...boxes)
  function recolour() {
    if (!base) return
    const d = base.frames[0].data, out = new Uint8ClampedArray(d), table = colors.map((_, i) => unhex(now[root_of(i)]))
    for (let p = 0; p < index.length; p++) if (index[p] >= 0) out.set(table[index[p]], p * 4)
    shown = { ...base, frames: [asFrame(out, base.w, base.h)] }
  }
  function draw() {
    if (gone) return
    const n = weights(), a = alive()
    if (!a.includes(focus)) focus = root_of(focus)
    boxes.forEach((b, i) => { // the same elements all the time, so that the focus stays
      b.hidden = to[i] !== i; b.tabIndex = i === focus ? 0 : -1
      b.dataset.locked = locked[i]; b.setAttribute('aria-checked', String(selected.has(i)))
      b.title = `${now[i]} · ${n[i]} px`; b.setAttribute('aria-label', `${now[i]}, ${n[i]} pixels${locked[i] ? ', locked' : ''}`)
      b.style.cssText = `background:${now[i]}${i === focus ? ';outline:2px solid currentColor;outline-offset:1px' : ''}`
    })
    few.max = colors.length; few.value = a.length; picker.value = now[focus]
    told.textContent = `${a.length} colours · ${now[focus]} on ${n[focus]} px`
    recolour(); stage.draw()
  }
  const hold = v => { if (original !== v) { original = v; stage.draw() } }
  root.addEventListener('keyup', e => { if (e.key === 'o') hold(false) }, { signal })
  keyed(root, e => { // space on a swatch selects it; a click puts it into focus
    if (e.key === ' ' && e.target.classList.contains('sdx-swatch')) { e.preventDefault(); pick(+e.target.dataset.i) }
  })
  const row = () => Math.max(1, Math.floor((swatches.clientWidth + 4) / 38))
  onKeys(root, { ArrowRight: () => move(1), ArrowLeft: () => move(-1), ArrowDown: () => move(row()), ArrowUp: () => move(-row()), m: merge, l: lock, r: () => { picker.focus(); picker.showPicker?.() }, u: undo,
    '-': () => reduce(alive().length - 1), '+': undo, o: () => hold(true), k: () => { stage.backdrop = BACKDROPS[(BACKDROPS.indexOf(stage.backdrop) + 1) % 4]; stage.draw() }, '?': () => { help.hidden = !help.hidden } })
  stage.canvas.addEventListener('pointerdown', e => {
    const [x, y] = stage.native(e)
    if (base && x >= 0 && y >= 0 && x < base.w && y < base.h && index[y * base.w + x] >= 0) pick(root_of(index[y * base.w + x]), !e.shiftKey)
  }, { signal })

  async function load() {
    base = await decodePicture(get('picture'))
    if (gone) return
    const at = new Map(colors.map((c, i) => [c, i])), d = base.frames[0].data
    index = new Int32Array(base.w * base.h)
    for (let p = 0; p < index.length; p++) index[p] = d[p * 4 + 3] ? at.get(hex(d[p * 4], d[p * 4 + 1], d[p * 4 + 2])) : -1
    root.dataset.ready = 'true'; draw(); stage.now()
  }
  watch(model, ['now', 'to', 'locked'], () => { if (own) return; now = [...get('now')]; to = [...get('to')]; locked = [...get('locked')]; draw() }, signal)
  load()
  return () => { gone = true; life.abort(); el.replaceChildren() }
}
