// A corruption with a slider for every number of every operation; Python runs the recipe as fast as it is turned.

const EXPLORE_HELP = [['Tab', 'next slider'], ['← →', 'turn it one step'], ['PageUp PageDown', 'turn it far'], ['Home End', 'lowest, highest'], ['space', 'an operation on, or off'], ['?', 'this help']]

function renderExplore({ model, el }) {
  const life = new AbortController(), signal = life.signal, get = k => model.get(k)
  const root = rootOf(el, 'explore', signal), ops = make('div', { class: 'sdx-ops' }), view = make('div'), note = make('div', { class: 'sdx-note', 'aria-live': 'polite' }), help = helpBox(EXPLORE_HELP)
  const copied = r => r.map(o => ({ ...o, kw: { ...o.kw } }))
  let recipe = copied(get('recipe')), seed = get('seed'), busy = false, dirty = false, timer, sent = 0, own = false
  const round = v => Math.abs(v) >= 100 ? v.toFixed(0) : String(+v.toFixed(3))

  // at most one question on its way and one every 50 ms; what was turned meanwhile goes with the next
  function ask() {
    dirty = true
    if (busy || timer) return
    timer = setTimeout(() => {
      timer = null; busy = true; dirty = false; sent = performance.now()
      own = true; model.set('recipe', copied(recipe)); model.set('seed', seed); model.set('asked', get('asked') + 1); own = false; model.save_changes()
    }, Math.max(0, 50 - (performance.now() - sent)))
  }
  function answered() {
    note.textContent = get('said') || `${get('ms').toFixed(0)} ms in Python, ${(performance.now() - sent).toFixed(0)} ms in all`
    note.dataset.answered = get('answered')
    if (get('answered') < get('asked')) return
    busy = false
    if (dirty) ask()
  }
  function slider(label, value, [lo, hi, step], set) {
    const out = make('output', {}, round(value)), input = make('input', { type: 'range', min: lo, max: hi, step, 'aria-label': label, oninput: () => { out.textContent = round(+input.value); set(+input.value); ask() } })
    input.value = value
    return make('label', {}, label.split(' ').pop(), input, out)
  }
  function knob(o, name, k) {
    const label = `${o.op} ${name}`
    if (Array.isArray(k) && typeof k[0] === 'number') return slider(label, o.kw[name], k, v => { o.kw[name] = v })
    const s = choice(label, k.choices.map(String), () => String(o.kw[name]), v => { o.kw[name] = k.choices.find(c => String(c) === v); ask() })
    return make('label', {}, name, s, make('output'))
  }
  function group(o) {
    const knobs = get('knobs')[o.op] || {}
    const on = make('input', { type: 'checkbox', checked: o.on, 'aria-label': `${o.op} on`, onchange: () => { o.on = on.checked; ask() } })
    return make('fieldset', { 'data-op': o.op }, make('legend', {}, on, ` ${o.op} `, button('×', `Remove ${o.op}`, () => { recipe.splice(recipe.indexOf(o), 1); build(); ask() })),
      ...Object.entries(knobs).filter(([n]) => n in o.kw).map(([n, k]) => knob(o, n, k)))
  }
  function build() {
    const add = choice('Add an operation', ['add …', ...Object.keys(get('knobs'))], () => 'add …', v => {
      if (v !== 'add …') { recipe.push({ op: v, on: true, kw: { ...get('defaults')[v] } }); build(); ask() }
    })
    ops.replaceChildren(make('fieldset', {}, make('legend', {}, 'seed'), slider('seed', seed, [0, 999, 1], v => { seed = v })), ...recipe.map(group), make('div', { class: 'sdx-bar' }, add, button('?', 'Keys', () => { help.hidden = !help.hidden }, '?')), help, note)
  }
  root.append(make('div', { class: 'sdx-two' }, view, ops))
  build()
  const end = renderCompare({ model, el: view })
  watch(model, ['answered'], answered, signal)
  watch(model, ['recipe', 'seed'], () => { if (!own && !busy) { recipe = copied(get('recipe')); seed = get('seed'); build() } }, signal) // turned in Python
  onKeys(root, { '?': () => { help.hidden = !help.hidden } })
  if (model.alone) note.textContent = 'The sliders need a running notebook; the comparison does not.'
  root.dataset.ready = 'true'
  return () => { life.abort(); clearTimeout(timer); end(); el.replaceChildren() }
}
