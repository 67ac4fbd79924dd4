// What every view shares: elements, pictures as bytes, colour differences, and a stage that pictures are looked at on.
// Python joins this file with the files of a view (spritedx.widgets); there is no bundler and nothing comes from a network.

function make(tag, props = {}, ...kids) {
  const e = document.createElement(tag)
  for (const [k, v] of Object.entries(props)) {
    if (v === undefined || v === null) continue
    if (k === 'class') e.className = v
    else if (k === 'style') e.style.cssText = v
    else if (k.startsWith('on')) e[k] = v
    else if (k in e && !/^(aria|role|data|list)/.test(k)) e[k] = v
    else e.setAttribute(k, v)
  }
  e.append(...kids) // strings become text nodes: nothing is ever parsed as HTML
  return e
}

const clamp = (v, lo, hi) => Math.min(Math.max(v, lo), hi)
const hex = (r, g, b) => '#' + [r, g, b].map(v => v.toString(16).padStart(2, '0')).join('')
const unhex = s => [1, 3, 5].map(i => parseInt(s.slice(i, i + 2), 16))

// ---- pictures: {w, h, frames: [bytes]}, each frame RGBA with the left pixel taken off, deflated

async function inflate(bytes) {
  const view = bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const stream = new Blob([view]).stream().pipeThrough(new DecompressionStream('deflate'))
  return new Uint8ClampedArray(await new Response(stream).arrayBuffer())
}

async function decodeFrame(bytes, w, h) {
  const d = await inflate(bytes)
  for (let y = 0; y < h; y++) for (let i = y * w * 4 + 4; i < (y + 1) * w * 4; i++) d[i] = (d[i] + d[i - 4]) & 255
  return asFrame(d, w, h)
}

function asFrame(data, w, h) {
  const canvas = document.createElement('canvas')
  canvas.width = w; canvas.height = h
  canvas.getContext('2d').putImageData(new ImageData(data, w, h), 0, 0)
  return { data, canvas, w, h }
}

async function decodePicture(p) { return { w: p.w, h: p.h, place: p.place || [0, 0, p.w, p.h], frames: await Promise.all(p.frames.map(b => decodeFrame(b, p.w, p.h))) } }

async function decodePictures(ps) {
  const got = await Promise.all(Object.entries(ps).map(async ([k, p]) => [k, await decodePicture(p)]))
  return Object.fromEntries(got)
}

const frameOf = (pic, i) => pic.frames[Math.min(i, pic.frames.length - 1)]

// What a picture has at a pixel of the common grid: its own pixel under the middle of it, or null outside
function pixelAt(pic, i, x, y) {
  const [X, Y, W, H] = pic.place
  const u = Math.floor((x + .5 - X) / W * pic.w), v = Math.floor((y + .5 - Y) / H * pic.h)
  if (u < 0 || v < 0 || u >= pic.w || v >= pic.h) return null
  const d = frameOf(pic, i).data, o = (v * pic.w + u) * 4
  return [d[o], d[o + 1], d[o + 2], d[o + 3]]
}

// ---- CIEDE2000 (Sharma, Wu, Dalal 2005), D65, as spritedx.metrics.delta_e

function lab([r, g, b]) {
  const lin = c => (c /= 255) > .04045 ? ((c + .055) / 1.055) ** 2.4 : c / 12.92
  const f = t => t > .008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116
  r = lin(r); g = lin(g); b = lin(b)
  const x = f((.412453 * r + .357580 * g + .180423 * b) / .95047), y = f(.212671 * r + .715160 * g + .072169 * b), z = f((.019334 * r + .119193 * g + .950227 * b) / 1.08883)
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)]
}

function deltaE(p, q) {
  const [L1, a1, b1] = lab(p), [L2, a2, b2] = lab(q), rad = Math.PI / 180, { sin, cos, hypot, sqrt, exp, atan2, PI } = Math
  const C = ((hypot(a1, b1) + hypot(a2, b2)) / 2) ** 7, G = .5 * (1 - sqrt(C / (C + 25 ** 7)))
  const A1 = a1 * (1 + G), A2 = a2 * (1 + G), C1 = hypot(A1, b1), C2 = hypot(A2, b2)
  const hue = (b, a) => (atan2(b, a) + 2 * PI) % (2 * PI), h1 = hue(b1, A1), h2 = hue(b2, A2)
  let dh = h2 - h1, hm = h1 + h2
  if (C1 * C2 === 0) dh = 0
  else { if (dh > PI) dh -= 2 * PI; else if (dh < -PI) dh += 2 * PI; if (Math.abs(h1 - h2) > PI) hm += hm < 2 * PI ? 2 * PI : -2 * PI; hm /= 2 }
  const dL = L2 - L1, dC = C2 - C1, dH = 2 * sqrt(C1 * C2) * sin(dh / 2), Lm = (L1 + L2) / 2, Cm = (C1 + C2) / 2
  const T = 1 - .17 * cos(hm - 30 * rad) + .24 * cos(2 * hm) + .32 * cos(3 * hm + 6 * rad) - .2 * cos(4 * hm - 63 * rad)
  const SL = 1 + .015 * (Lm - 50) ** 2 / sqrt(20 + (Lm - 50) ** 2), SC = 1 + .045 * Cm, SH = 1 + .015 * Cm * T
  const RT = -2 * sqrt(Cm ** 7 / (Cm ** 7 + 25 ** 7)) * sin(60 * rad * exp(-(((hm / rad - 275) / 25) ** 2)))
  return sqrt((dL / SL) ** 2 + (dC / SC) ** 2 + (dH / SH) ** 2 + RT * (dC / SC) * (dH / SH))
}

const RIGHT = 2.3 // largest difference that no eye sees, as spritedx.metrics.RIGHT
const solid = p => p && p[3] > 127
// null: opaque in neither; Infinity: opaque in one only
const difference = (p, q) => solid(p) && solid(q) ? deltaE(p, q) : solid(p) || solid(q) ? Infinity : null

const RAMP = [[0, [20, 22, 34]], [RIGHT, [46, 84, 120]], [5, [40, 150, 130]], [10, [240, 200, 60]], [20, [230, 70, 50]]]
function heatColour(d) {
  if (d === Infinity) return [255, 0, 255]
  for (let i = 1; i < RAMP.length; i++) if (d <= RAMP[i][0]) {
    const [a, p] = RAMP[i - 1], [b, q] = RAMP[i], t = (d - a) / (b - a)
    return p.map((v, k) => Math.round(v + (q[k] - v) * t))
  }
  return RAMP[RAMP.length - 1][1]
}

// ---- a stage: one canvas, one camera, one or more panes that show the same place

const BACKDROPS = ['checkerboard', 'black', 'white', 'magenta']

class Stage {
  // paint(pane, i): draw pane i with `layer`; panes(): how many; bounds(): [x, y, w, h] that `fit` shows; moved(): after the camera changed
  constructor({ height, label, paint, panes = () => 1, bounds, moved = () => {}, signal }) {
    Object.assign(this, { paint, panes, bounds, moved, backdrop: 'checkerboard', grid: false, cam: null })
    this.canvas = make('canvas', { class: 'sdx-canvas', tabIndex: 0, role: 'application', 'aria-label': label, style: `height:${height}px` })
    this.pointers = new Map()
    this.observer = new ResizeObserver(() => this.resize())
    this.observer.observe(this.canvas)
    signal.addEventListener('abort', () => { this.observer.disconnect(); cancelAnimationFrame(this.waiting) })
    this.canvas.addEventListener('wheel', e => this.wheel(e), { passive: false, signal })
  }
  get dpr() { return window.devicePixelRatio || 1 }
  get paneWidth() { return this.canvas.clientWidth / this.panes() }
  resize() {
    const c = this.canvas, w = Math.round(c.clientWidth * this.dpr), h = Math.round(c.clientHeight * this.dpr)
    if (!w || !h || (c.width === w && c.height === h)) return
    c.width = w; c.height = h
    this.draw()
  }
  // A whole number of device pixels for each native pixel, or one over a whole number
  snapped(z, up) {
    const d = z * this.dpr, round = up === undefined ? Math.round : up ? Math.ceil : Math.floor
    return (d >= 1 ? round(d - (up ? 1e-6 : -1e-6)) : 1 / Math.max(1, Math.round(1 / d))) / this.dpr
  }
  fitted() {
    const [x, y, w, h] = this.bounds(), z = Math.min((this.paneWidth - 8) / w, (this.canvas.clientHeight - 8) / h)
    return [x + w / 2, y + h / 2, Math.max(1 / 64, z * this.dpr >= 1 ? Math.floor(z * this.dpr) / this.dpr : 1 / Math.ceil(1 / (z * this.dpr)) / this.dpr)]
  }
  get view() { return this.cam || this.fitted() }
  get isFit() { return !this.cam }
  fit() { this.look(null) }
  look(cam) { this.cam = cam; this.draw(); this.moved() }
  pan(dx, dy) { const [x, y, z] = this.view; this.look([x + dx / z, y + dy / z, z]) }
  zoom(up, sx = this.paneWidth / 2, sy = this.canvas.clientHeight / 2) {
    const [x, y, z] = this.view
    let next = up ? z * 1.25 : z / 1.25
    next = z * this.dpr < 1 || next * this.dpr < 1 ? this.snapped(next) : this.snapped(next, up)
    if (next === z) next = up ? this.snapped(2 * z) : this.snapped(z / 2)
    next = clamp(next, 1 / 64, 96)
    const px = sx % this.paneWidth - this.paneWidth / 2, py = sy - this.canvas.clientHeight / 2
    this.look([x + px / z - px / next, y + py / z - py / next, next])
  }
  wheel(e) {
    if (!(e.ctrlKey || e.metaKey || document.activeElement === this.canvas || this.canvas.getRootNode().activeElement === this.canvas)) return
    e.preventDefault()
    this.wheeled = (this.wheeled || 0) + e.deltaY
    if (Math.abs(this.wheeled) < 24) return
    this.zoom(this.wheeled < 0, ...this.at(e)); this.wheeled = 0
  }
  at(e) { const r = this.canvas.getBoundingClientRect(); return [e.clientX - r.left, e.clientY - r.top] }
  native(e) {
    const [sx, sy] = this.at(e), [x, y, z] = this.view
    return [Math.floor(x + (sx % this.paneWidth - this.paneWidth / 2) / z), Math.floor(y + (sy - this.canvas.clientHeight / 2) / z)]
  }
  draw() {
    cancelAnimationFrame(this.waiting)
    this.waiting = requestAnimationFrame(() => this.now())
  }
  now() {
    const c = this.canvas, g = c.getContext('2d'), n = this.panes(), [x, y, z] = this.view, s = z * this.dpr
    if (!c.width || !this.bounds()[2]) return
    for (let i = 0; i < n; i++) {
      const left = Math.round(i * c.width / n), width = Math.round((i + 1) * c.width / n) - left
      const ox = Math.round(left + width / 2 - x * s), oy = Math.round(c.height / 2 - y * s)
      g.save(); g.beginPath(); g.rect(left, 0, width, c.height); g.clip()
      this.fill(g, left, width)
      this.paint({ g, left, width, height: c.height, ox, oy, s }, i)
      if (this.grid && s >= 6 * this.dpr) this.lines(g, left, width, ox, oy, s)
      if (i) { g.fillStyle = '#888'; g.fillRect(left, 0, Math.ceil(this.dpr), c.height) }
      g.restore()
    }
  }
  fill(g, left, width) {
    const h = this.canvas.height, k = Math.round(8 * this.dpr)
    g.fillStyle = { black: '#000', white: '#fff', magenta: '#f0f' }[this.backdrop] || '#bfbfbf'
    g.fillRect(left, 0, width, h)
    if (this.backdrop !== 'checkerboard') return
    g.fillStyle = '#9e9e9e'
    for (let y = 0; y * k < h; y++) for (let x = y % 2; x * k < width; x += 2) g.fillRect(left + x * k, y * k, k, k)
  }
  lines(g, left, width, ox, oy, s) {
    const [bx, by, bw, bh] = this.bounds()
    g.fillStyle = 'rgba(128,128,128,.45)'
    for (let x = bx; x <= bx + bw; x++) g.fillRect(ox + Math.round(x * s), oy + by * s, 1, bh * s)
    for (let y = by; y <= by + bh; y++) g.fillRect(ox + bx * s, oy + Math.round(y * s), bw * s, 1)
  }
  layer({ g, ox, oy, s }, pic, i) {
    const [X, Y, W, H] = pic.place, x = ox + Math.round(X * s), y = oy + Math.round(Y * s)
    const w = Math.max(1, ox + Math.round((X + W) * s) - x), h = Math.max(1, oy + Math.round((Y + H) * s) - y)
    g.imageSmoothingEnabled = w < pic.w
    g.imageSmoothingQuality = 'high'
    g.drawImage(frameOf(pic, i).canvas, x, y, w, h)
  }
  outline({ g, ox, oy, s }, x, y, w = 1, h = 1) {
    const d = Math.max(1, Math.round(this.dpr))
    g.strokeStyle = '#000'; g.lineWidth = 3 * d; g.strokeRect(ox + x * s, oy + y * s, w * s, h * s)
    g.strokeStyle = '#fff'; g.lineWidth = d; g.strokeRect(ox + x * s, oy + y * s, w * s, h * s)
  }
}

function union(boxes) {
  const x = Math.min(...boxes.map(b => b[0])), y = Math.min(...boxes.map(b => b[1]))
  return [x, y, Math.max(...boxes.map(b => b[0] + b[2])) - x, Math.max(...boxes.map(b => b[1] + b[3])) - y]
}

// ---- controls

function button(text, title, onclick, key) {
  return make('button', { class: 'sdx-button', type: 'button', title: key ? `${title} (${key})` : title, 'aria-label': title, 'aria-keyshortcuts': key, onclick }, text)
}

function choice(label, names, get, set) {
  const s = make('select', { class: 'sdx-select', 'aria-label': label, title: label }, ...names.map(n => make('option', { value: n }, n)))
  s.value = get()
  s.onchange = () => set(s.value)
  return s
}

// Keys that are pressed in a view stay in it: in a notebook x cuts a cell and d d deletes one. JupyterLab takes keys on their way up, Notebook 7
// on their way down; so the window takes them first of all, and hands them from where they were pressed up to the root until one is used.
const roots = new Set(), keysOf = new WeakMap()
function handKeys(e) {
  const path = e.composedPath(), n = path.findLastIndex(o => roots.has(o))
  if (n < 0) return
  e.stopPropagation()
  for (const o of path.slice(0, n + 1)) for (const f of keysOf.get(o) || []) { if (e.defaultPrevented) return; f(e) }
}
function keyed(target, f) { keysOf.set(target, [...keysOf.get(target) || [], f]) }

// The outermost element of a view
function rootOf(el, name, signal) {
  const root = make('div', { class: `sdx sdx-${name}`, 'data-lm-suppress-shortcuts': 'true' })
  if (!roots.size) window.addEventListener('keydown', handKeys, true)
  roots.add(root)
  signal.addEventListener('abort', () => { roots.delete(root); if (!roots.size) window.removeEventListener('keydown', handKeys, true) })
  el.replaceChildren(root)
  return root
}

const spoken = e => (e.shiftKey && e.key.length > 1 ? 'Shift+' : '') + e.key

function onKeys(target, keys) {
  keyed(target, e => {
    if (e.ctrlKey || e.metaKey || e.altKey) return
    const { tagName: tag, type } = e.target // what is typed into a field stays there; a slider and a box leave the letters free
    if (tag === 'SELECT' || tag === 'TEXTAREA' || (tag === 'INPUT' && (!['range', 'checkbox'].includes(type) || e.key.length > 1 || e.key === ' '))) return
    const f = keys[spoken(e)]
    if (!f || (e.target.tagName === 'BUTTON' && [' ', 'Enter'].includes(e.key))) return
    e.preventDefault(); f(e)
  })
}

function watch(model, names, f, signal) {
  const all = names.map(n => `change:${n}`)
  for (const n of all) model.on(n, f)
  signal.addEventListener('abort', () => { for (const n of all) model.off(n, f) })
}

// Traits change at once here, and are sent at most so often
function saver(model, signal, ms = 80) {
  let timer
  signal.addEventListener('abort', () => clearTimeout(timer))
  return values => {
    for (const [k, v] of Object.entries(values)) model.set(k, v)
    clearTimeout(timer); timer = setTimeout(() => model.save_changes(), ms)
  }
}

function helpBox(rows) {
  return make('dl', { class: 'sdx-help', hidden: true }, ...rows.flatMap(([k, t]) => [make('dt', {}, make('kbd', {}, k)), make('dd', {}, t)]))
}
