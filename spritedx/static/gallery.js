// The cases of a benchmark, the worst first; one opens into a comparison below.

const PER_PAGE = 12
const GALLERY_HELP = [['arrows', 'next case'], ['Enter', 'open it'], ['n p', 'open the next, the one before'], ['Escape', 'close it'], ['PageUp PageDown', 'page back, page on'], ['o', 'the other end first'], ['?', 'this help']]

function renderGallery({ model, el }) {
  const life = new AbortController(), signal = life.signal, save = saver(model, signal, 0)
  const root = rootOf(el, 'gallery', signal), get = k => model.get(k), made = new Map()
  let page = 0, worst = true, undo = null
  const help = helpBox(GALLERY_HELP), grid = make('div', { class: 'sdx-grid', role: 'list', 'aria-label': 'Cases' }), below = make('div')
  const metric = choice('Metric', Object.keys(get('columns')), () => get('metric'), v => { save({ metric: v }); page = 0; draw() })
  const only = choice('Condition', ['all', ...new Set(get('conditions'))], () => get('only') || 'all', v => { save({ only: v === 'all' ? '' : v }); page = 0; draw() })
  const turn = button('worst first', 'Other end first', () => { worst = !worst; page = 0; draw() }, 'o')
  const where = make('output', { class: 'sdx-count', 'aria-live': 'polite' })
  const step = by => { const n = Math.max(1, Math.ceil(order().length / PER_PAGE)); page = clamp(page + by, 0, n - 1); draw() }
  root.append(make('div', { class: 'sdx-bar', role: 'toolbar' }, metric, only, turn, button('‹', 'Page back', () => step(-1), 'PageUp'), where, button('›', 'Page on', () => step(1), 'PageDown'),
    button('?', 'Keys', () => { help.hidden = !help.hidden }, '?')), help, grid, below)

  function order() {
    const m = get('metric'), v = get('columns')[m], sign = (get('better')[m] < 0 ? -1 : 1) * (worst ? 1 : -1), c = get('conditions')
    return get('names').map((_, i) => i).filter(i => !get('only') || c[i] === get('only'))
      .sort((a, b) => (v[a] === null) - (v[b] === null) || sign * (v[a] - v[b]) || a - b)
  }
  function card(i) {
    const v = get('columns')[get('metric')][i]
    const c = make('button', { class: 'sdx-card', type: 'button', role: 'listitem', 'data-case': String(i), 'aria-pressed': String(get('opened') === i), onclick: () => open(i) },
      ...['before', 'after', 'truth'].map(() => make('canvas', { width: 1, height: 1 })),
      make('b', {}, `${get('metric')} ${v === null ? '–' : +v.toFixed(3)}`), make('small', {}, get('names')[i]))
    if (made.has(i)) paint(c, made.get(i))
    return c
  }
  async function paint(c, ps) {
    const pics = await decodePictures(ps)
    ;['before', 'after', 'truth'].forEach((k, j) => {
      const t = c.querySelectorAll('canvas')[j], p = pics[k]
      if (!p) return
      const s = p.w > 128 ? 128 / Math.max(p.w, p.h) : 1
      t.width = Math.max(1, Math.round(p.w * s)); t.height = Math.max(1, Math.round(p.h * s))
      t.getContext('2d').drawImage(p.frames[0].canvas, 0, 0, t.width, t.height)
    })
    c.dataset.drawn = 'true'
  }
  function draw() {
    const all = order(), shown = all.slice(page * PER_PAGE, (page + 1) * PER_PAGE)
    metric.value = get('metric'); turn.textContent = worst ? 'worst first' : 'best first'
    where.textContent = all.length ? `${page * PER_PAGE + 1}–${page * PER_PAGE + shown.length} of ${all.length}` : 'none'
    const here = grid.contains(document.activeElement) && document.activeElement.dataset.case
    grid.replaceChildren(...shown.map(card))
    if (here) (grid.querySelector(`[data-case="${here}"]`) || grid.firstChild)?.focus({ preventScroll: true }) // keys go on where they were
    const lack = shown.filter(i => !made.has(i))
    if (lack.length) save({ want: lack })
  }
  function keep(i, ps) {
    made.set(i, ps)
    const c = grid.querySelector(`[data-case="${i}"]`)
    if (c) paint(c, ps)
    if (get('opened') === i && !undo) open(i)
  }
  function open(i) {
    save({ opened: i })
    for (const c of grid.children) c.setAttribute('aria-pressed', String(+c.dataset.case === i))
    if (!made.has(i)) { below.replaceChildren(make('div', { class: 'sdx-note' }, 'Making the pictures of this case …')); save({ want: [i] }); return }
    if (undo) undo()
    model.set('camera', []); model.set('cursor', []); model.set('pictures', made.get(i))
    const box = make('div')
    below.replaceChildren(make('b', {}, get('names')[i]), box)
    const end = renderCompare({ model, el: box })
    undo = () => { end(); undo = null; below.replaceChildren() }
  }
  const next = by => { const all = order(), k = all.indexOf(get('opened')), i = all[clamp(k + by, 0, all.length - 1)]; page = Math.floor(all.indexOf(i) / PER_PAGE); draw(); open(i); grid.querySelector(`[data-case="${i}"]`)?.focus({ preventScroll: true }) }
  const hop = by => { const cs = [...grid.children], k = cs.indexOf(document.activeElement.closest('.sdx-card')); if (cs.length) cs[clamp(k + by, 0, cs.length - 1)].focus() }
  onKeys(root, { '?': () => { help.hidden = !help.hidden }, o: () => turn.click(), PageUp: () => step(-1), PageDown: () => step(1), n: () => next(1), p: () => next(-1), Escape: () => { const i = get('opened'); if (undo) undo(); save({ opened: -1 }); draw(); (grid.querySelector(`[data-case="${i}"]`) || grid.firstChild)?.focus() },
    ArrowRight: () => hop(1), ArrowLeft: () => hop(-1), ArrowDown: () => hop(Math.max(1, Math.floor(grid.clientWidth / 198))), ArrowUp: () => hop(-Math.max(1, Math.floor(grid.clientWidth / 198))) })

  const message = (content, buffers) => {
    if (!content || content.thumb === undefined) return
    let b = 0
    keep(content.thumb, Object.fromEntries(Object.entries(content.pictures).map(([k, p]) => [k, { ...p, frames: p.frames.map(() => buffers[b++]) }])))
  }
  model.on('msg:custom', message)
  signal.addEventListener('abort', () => model.off('msg:custom', message))
  for (const [k, ps] of Object.entries(get('thumbs'))) made.set(+k, ps)
  watch(model, ['metric', 'only'], () => { page = 0; draw() }, signal)
  watch(model, ['opened'], () => { if (get('opened') >= 0 && grid.querySelector('[aria-pressed=true]')?.dataset.case !== String(get('opened'))) open(get('opened')) }, signal)
  root.dataset.ready = 'true'
  draw()
  if (get('opened') >= 0) open(get('opened'))
  return () => { if (undo) undo(); life.abort(); el.replaceChildren() }
}
