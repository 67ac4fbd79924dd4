// A universe to walk through: search, a page, those around. Python answers; every word becomes a text node.

const UNIVERSE_HELP = [['/', 'search'], ['↓ ↑', 'next, previous of those found'], ['Enter', 'open'], ['Tab', 'next link'], ['Backspace', 'back'], ['?', 'this help']]

function renderUniverse({ model, el }) {
  const trail = [], help = helpBox(UNIVERSE_HELP)
  const life = new AbortController(), signal = life.signal, save = saver(model, signal, 60), get = k => model.get(k)
  const root = rootOf(el, 'universe', signal), list = make('ul', { class: 'sdx-list', 'aria-label': 'Found' }), page = make('div', { class: 'sdx-page', tabIndex: -1 })
  const search = make('input', { type: 'search', placeholder: 'a name or its beginning ( / )', 'aria-label': 'Search', style: 'flex:1', oninput: () => save({ query: search.value }) })
  const kinds = choice('Kind', ['everybody', ...get('kinds')], () => get('kind') || 'everybody', v => save({ kind: v === 'everybody' ? '' : v }))
  root.append(make('div', { class: 'sdx-bar', role: 'search' }, search, kinds, button('←', 'Back', () => back(), 'Backspace'), button('?', 'Keys', () => { help.hidden = !help.hidden }, '?')), help, make('div', { class: 'sdx-two' }, page, list))
  function go(id) { if (id && id !== get('who')) { trail.push(get('who')); save({ who: id }) } }
  function back() { const id = trail.pop(); if (id !== undefined) save({ who: id }) }
  const words = ws => ws.map(w => typeof w === 'string' ? w : make('button', { class: 'sdx-link', type: 'button', 'data-id': w.id, onclick: () => go(w.id) }, w.name))
  const svg = (tag, at, ...kids) => { const e = document.createElementNS('http://www.w3.org/2000/svg', tag); for (const [k, v] of Object.entries(at)) e.setAttribute(k, v); e.append(...kids); return e }
  function graph({ nodes, edges }) {
    const W = 560, H = Math.min(360, 110 + 26 * nodes.length), X = v => W / 2 + v * (W / 2 - 80), Y = v => H / 2 + v * (H / 2 - 20), at = Object.fromEntries(nodes.map(n => [n.id, n]))
    const fill = { person: '#3f66b8', place: '#3f7f4a', thing: '#a86a24', group: '#7f4a94' }
    return svg('svg', { viewBox: `0 0 ${W} ${H}`, class: 'sdx-graph', role: 'img', 'aria-label': 'Those around' },
      ...edges.flatMap(({ a, b, kind, past }) => [svg('line', { x1: X(at[a].x), y1: Y(at[a].y), x2: X(at[b].x), y2: Y(at[b].y), stroke: 'currentColor', 'stroke-opacity': .35, 'stroke-dasharray': past ? '4 3' : '' }),
        svg('text', { x: (X(at[a].x) + X(at[b].x)) / 2, y: (Y(at[a].y) + Y(at[b].y)) / 2 - 3, 'font-size': 9, 'text-anchor': 'middle', fill: 'currentColor', 'fill-opacity': .7 }, kind)]),
      ...nodes.map(n => {
        const w = 6.2 * n.name.length + 14, g = svg('a', { tabindex: 0, role: 'link', 'aria-label': n.name }, svg('rect', { x: X(n.x) - w / 2, y: Y(n.y) - 10, width: w, height: 20, rx: n.kind === 'person' ? 10 : 3, fill: fill[n.kind], stroke: n.id === get('who') ? 'currentColor' : 'none', 'stroke-width': 2 }),
          svg('text', { x: X(n.x), y: Y(n.y) + 4, 'font-size': 11, 'text-anchor': 'middle', fill: '#fff' }, n.name))
        g.addEventListener('click', () => go(n.id)); keyed(g, e => { if (e.key === 'Enter') { e.preventDefault(); go(n.id) } })
        return g
      }))
  }
  const block = b => b.kind === 'title' ? make('h3', {}, b.text) : b.kind === 'heading' ? make('h4', {}, b.text)
    : b.kind === 'table' ? make('table', {}, ...b.rows.map(([k, v]) => make('tr', {}, make('th', { scope: 'row' }, ...words(k)), make('td', {}, ...words(v)))))
    : b.kind === 'list' ? make('ul', {}, ...b.items.map(ws => make('li', {}, ...words(ws)))) : make('p', {}, ...words(b.words))
  async function draw() {
    const c = get('card'), parts = (c.blocks || []).map(block)
    if (c.picture) {
      const p = await decodePicture(c.picture), k = Math.max(1, Math.floor(192 / Math.max(p.w, p.h)))
      p.frames[0].canvas.style.cssText = `width:${p.w * k}px;height:${p.h * k}px`; parts.splice(1, 0, p.frames[0].canvas)
    }
    if (c.graph && c.graph.nodes.length > 1) parts.push(make('h4', {}, 'Around'), graph(c.graph))
    page.replaceChildren(...parts); page.dataset.who = get('who'); page.scrollTop = 0
    found()
  }
  function found() {
    list.replaceChildren(...get('hits').map(h => make('li', {}, make('button', { type: 'button', 'data-id': h.id, 'aria-current': String(h.id === get('who')), onclick: () => go(h.id) }, h.name, ' ', make('small', {}, h.kind)))))
    list.dataset.query = get('query')
  }
  const hop = by => { const bs = [...list.querySelectorAll('button')], i = bs.indexOf(document.activeElement); if (bs.length) bs[clamp(i + by, 0, bs.length - 1)].focus() }
  keyed(search, e => { if (e.key === 'ArrowDown') { e.preventDefault(); hop(1) } else if (e.key === 'Enter') { e.preventDefault(); const h = get('hits')[0]; if (h) go(h.id) } })
  onKeys(root, { '?': () => { help.hidden = !help.hidden }, '/': () => search.focus(), Backspace: back, ArrowDown: () => hop(1), ArrowUp: () => hop(-1) })
  watch(model, ['card'], draw, signal); watch(model, ['hits'], found, signal)
  root.dataset.ready = 'true'
  draw()
  return () => { life.abort(); el.replaceChildren() }
}
