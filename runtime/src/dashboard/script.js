'use strict';
const CELLS = 240, LOGS = 500;
const token = new URLSearchParams(location.search).get('token') || '';
const $ = (id) => document.getElementById(id);
const state = new Map(), lanes = new Map(), views = new Map(), logs = [];
let now = 0, tick = 0;

// What people read.
const plural = (count, word) => `${count.toLocaleString('en')} ${word}${count === 1 ? '' : 's'}`;
function time(ms) {
  if (ms < 0.001) return `${(ms * 1e6).toFixed(0)} ns`;
  if (ms < 1) return `${(ms * 1e3).toFixed(1)} µs`;
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  if (ms < 60e3) return `${(ms / 1000).toFixed(1)} s`;
  const s = Math.round(ms / 1000), two = (n) => String(n).padStart(2, '0');
  return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)} min` : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)} h`;
}
function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  while (n >= 1024 && at < 4) { n /= 1024; at++; }
  return `${at ? n.toFixed(1) : n} ${units[at]}`;
}
const rate = (n) => n >= 100 ? Math.round(n).toLocaleString('en') : n.toPrecision(2);
const short = (name) => name.split('::').slice(-2).join('::');

// The tree of the page. Elements stay as long as what they show, so that focus and selection stay too.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}
const text = (node, value) => { if (node.textContent !== value) node.textContent = value; };
const attribute = (node, name, value) => { if (node.getAttribute(name) !== value) node.setAttribute(name, value); };

function view(key, make) {
  if (!views.has(key)) views.set(key, make());
  return views.get(key);
}

function order(parent, nodes) {
  nodes.forEach((node, at) => { if (parent.children[at] !== node) parent.insertBefore(node, parent.children[at] || null); });
  while (parent.children.length > nodes.length) parent.lastChild.remove();
}

function notice(message) {
  const box = $('notice');
  box.textContent = message;
  box.hidden = false;
  clearTimeout(notice.timer);
  notice.timer = setTimeout(() => { box.hidden = true; }, 6000);
}

async function act(path, done) {
  try {
    const answer = await fetch(`${path}${path.includes('?') ? '&' : '?'}token=${encodeURIComponent(token)}`, { method: 'POST' });
    const body = (await answer.text()).trim();
    notice(answer.ok ? body || done : `Not done: ${body}`);
  } catch (error) {
    notice('Not done: the program does not answer.');
  }
}

const link = (path) => `${path}?token=${encodeURIComponent(token)}`;

function poolView(pool) {
  const base = `pools/${pool.id}`;
  const count = element('input', { type: 'number', min: 1, max: 1024, required: '', id: `count-${pool.id}` });
  const form = element('form', { onsubmit: (event) => { event.preventDefault(); act(`${base}/workers?count=${count.valueAsNumber}`, 'Resized.'); } },
    element('label', { for: count.id }, 'Workers'), count, element('button', { type: 'submit' }, 'Resize'));
  const it = {
    count, title: element('h2', { id: `pool-${pool.id}` }), meta: element('p', { class: 'meta' }), warnings: element('ul', { class: 'warnings', 'aria-label': 'Warnings' }),
    calls: element('ul', { class: 'calls', 'aria-label': 'Calls' }), noCalls: element('p', { class: 'faint' }, 'No calls yet.'),
    workers: element('tbody'), functions: element('tbody'), form,
  };
  const head = (names) => element('thead', {}, element('tr', {}, ...names.map(([name, right]) => element('th', { scope: 'col', ...(right ? { class: 'right' } : {}) }, name))));
  it.functionsPart = element('div', {}, element('h3', {}, 'Functions'), element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': `Functions of pool ${pool.name}` },
    element('table', {}, head([['Function'], ['Inputs', 1], ['Failed', 1], ['Run p50', 1], ['Run p99', 1], ['Wait p50', 1], ['Wait p99', 1]]), it.functions)));
  it.root = element('section', { 'aria-labelledby': `pool-${pool.id}` },
    element('div', { class: 'head' }, it.title, it.meta, element('div', { class: 'tools' }, form,
      element('a', { class: 'button', href: link(`${base}/timeline.svg`), target: '_blank', rel: 'noopener' }, 'Timeline'),
      element('a', { class: 'button', href: link(`${base}/trace`), download: '' }, 'Trace'),
      element('a', { class: 'button', href: link(`${base}/report`), download: '' }, 'Report'))),
    it.warnings, element('h3', {}, 'Calls'), it.calls, it.noCalls,
    element('h3', {}, 'Workers'), element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': `Workers of pool ${pool.name}` },
      element('table', { class: 'workers', role: 'table' }, head([['Worker'], ['Last minute'], ['Doing'], ['Since', 1], ['Memory', 1], ['Tasks', 1], ['Pid', 1], ['Last death']]), it.workers)),
    it.functionsPart);
  return it;
}

function showPool(pool) {
  const it = view(`pool/${pool.id}`, () => poolView(pool));
  text(it.title, `Pool ${pool.name}`);
  text(it.meta, `${plural(pool.workers, 'worker')}, ${pool.method}, ${pool.life}, watched for ${time(now - pool.built)}`);
  if (document.activeElement !== it.count && it.count.dataset.last !== String(pool.workers)) {
    it.count.value = it.count.dataset.last = String(pool.workers);
  }
  it.form.hidden = pool.life !== 'open';
  const under = (kind) => [...state].filter(([key]) => key.startsWith(`${kind}/${pool.id}/`)).map(([, value]) => value);
  order(it.warnings, pool.warnings.map((warning) => view(`warning/${pool.id}/${warning}`, () => element('li', {}, warning))));
  const calls = under('call').sort((a, b) => (a.over - b.over) || (b.call - a.call));
  order(it.calls, calls.map((call) => showCall(pool, call)));
  it.noCalls.hidden = calls.length > 0;
  order(it.workers, under('worker').sort((a, b) => a.slot - b.slot).map((worker) => showWorker(pool, worker)));
  const functions = under('task').sort((a, b) => b.run - a.run);
  order(it.functions, functions.map((task) => showFunction(pool, task)));
  it.functionsPart.hidden = functions.length === 0;
  return it.root;
}

function showCall(pool, call) {
  const it = view(`call/${pool.id}/${call.call}`, () => {
    const fill = element('i'), bar = element('div', { class: 'bar', role: 'progressbar', 'aria-valuemin': 0, 'aria-valuemax': 100 }, fill);
    const name = element('span', { class: 'name' }), numbers = element('span', { class: 'numbers' });
    const cancel = element('button', { type: 'button', onclick: () => act(`pools/${pool.id}/calls/${call.call}/cancel`, 'Cancelled.') }, 'Cancel');
    return { root: element('li', { 'data-call': call.call }, name, bar, numbers, cancel), fill, bar, name, numbers, cancel };
  });
  const name = call.title || short(call.task), part = call.total ? call.done / call.total : call.over ? 1 : null;
  text(it.name, name);
  attribute(it.name, 'title', call.task);
  attribute(it.bar, 'aria-label', `${name}, call ${call.call}`);
  attribute(it.bar, 'class', `bar${call.over ? (call.failed ? ' bad' : ' over') : ''}${part === null ? ' unknown' : ''}`);
  if (part === null) { it.bar.removeAttribute('aria-valuenow'); it.fill.style.transform = ''; } else {
    attribute(it.bar, 'aria-valuenow', String(Math.floor(part * 100)));
    it.fill.style.transform = `scaleX(${part})`;
  }
  if (call.over && call.failed) it.fill.style.setProperty('--part', `${Math.max(2, call.failed / Math.max(1, call.total) * 100)}%`);
  const took = (call.over ? call.ended : now) - call.begun;
  const facts = [call.total === null ? '' : `of ${call.total.toLocaleString('en')}`];
  if (call.over) facts.push(`in ${time(took)}`); else if (call.rate > 0) {
    facts.push(`${rate(call.rate)}/s`);
    facts.push(call.total === null ? time(took) : `${time((call.total - call.done) / call.rate * 1000)} left`);
  } else facts.push(time(took));
  const parts = [element('b', {}, call.done.toLocaleString('en')), ` ${facts.filter(Boolean).join(' · ')}`];
  if (call.failed) parts.push(' · ', element('span', { class: 'failed' }, `${call.failed.toLocaleString('en')} failed`));
  const key = parts.map((part) => part.textContent || part).join('');
  if (it.key !== key) { it.numbers.replaceChildren(...parts); it.key = key; }
  it.cancel.hidden = call.over;
  attribute(it.cancel, 'aria-label', `Cancel ${name}, call ${call.call}`);
  return it.root;
}

const color = (pool, task) => {
  const tasks = pool.tasks || [], at = tasks.indexOf(task);
  return at < 0 || at > 6 ? '--c7' : `--c${at}`;
};

function showWorker(pool, worker) {
  const it = view(`worker/${pool.id}/${worker.slot}`, () => {
    const cells = {}, cell = (name, label, className = '') => (cells[name] = element('td', { role: 'cell', 'data-label': label, ...(className ? { class: className } : {}) }));
    const canvas = element('canvas', { role: 'img' }), lane = cell('lane', 'Last minute', 'lane');
    lane.append(canvas);
    const root = element('tr', { role: 'row', 'data-slot': worker.slot }, cell('id', 'Worker'), lane, cell('doing', 'Doing', 'doing'), cell('since', 'Since', 'right'), cell('memory', 'Memory', 'right'), cell('tasks', 'Tasks', 'right'), cell('pid', 'Pid', 'right'), cell('death', 'Last death', 'death'));
    return { root, cells, canvas };
  });
  const { cells } = it;
  text(cells.id, String(worker.id));
  text(cells.doing, worker.task ? short(worker.task) : worker.state);
  attribute(cells.doing, 'title', worker.task || worker.state);
  text(cells.since, worker.since === null ? '–' : time(Math.max(0, now - worker.since)));
  text(cells.memory, worker.memory ? bytes(worker.memory) : '–');
  text(cells.tasks, worker.done.toLocaleString('en'));
  text(cells.pid, worker.pid ? String(worker.pid) : '–');
  text(cells.death, worker.last_death ? `${worker.deaths > 1 ? `${worker.deaths}×, last ` : ''}${worker.last_death}` : '');
  drawLane(it.canvas, pool, worker);
  return it.root;
}

function drawLane(canvas, pool, worker) {
  const cells = lanes.get(`${pool.id}/${worker.slot}`) || [], scale = devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * scale), height = Math.round(22 * scale);
  if (!width) return;
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const style = getComputedStyle(document.documentElement), brush = canvas.getContext('2d'), step = width / CELLS;
  brush.clearRect(0, 0, width, height);
  let busy = 0;
  for (let at = 0; at < cells.length; at++) {
    const [task, share] = cells[at];
    if (share <= 0) continue;
    busy += share;
    brush.fillStyle = style.getPropertyValue(color(pool, task));
    const x = Math.floor((CELLS - cells.length + at) * step), next = Math.floor((CELLS - cells.length + at + 1) * step);
    brush.fillRect(x, height * (1 - share / 100), Math.max(1, next - x), height * share / 100);
  }
  attribute(canvas, 'aria-label', `Worker ${worker.id} was busy for ${Math.round(busy / Math.max(1, cells.length))} % of the last minute`);
}

function showFunction(pool, task) {
  const it = view(`task/${pool.id}/${task.id}`, () => {
    const cells = Array.from({ length: 7 }, (_, at) => element('td', at ? { class: 'right' } : { class: 'function' }));
    const swatch = element('span', { class: 'swatch', 'aria-hidden': 'true' }), name = element('span');
    cells[0].append(element('span', { class: 'named' }, swatch, name));
    return { root: element('tr', {}, ...cells), cells, swatch, name };
  });
  it.swatch.style.setProperty('--swatch', `var(${color(pool, task.id)})`);
  text(it.name, task.name);
  const values = [task.inputs.toLocaleString('en'), task.failed.toLocaleString('en'), ...[task.run_p50, task.run_p99, task.wait_p50, task.wait_p99].map((ns) => time(ns / 1e6))];
  values.forEach((value, at) => text(it.cells[at + 1], value));
  return it.root;
}

// Records of logs.
function showLogs(added) {
  $('logs').hidden = logs.length === 0;
  const wanted = $('log-filter').value.toLowerCase(), level = Number($('log-level').value), box = $('log');
  const fits = (record) => record.level <= level && (!wanted || record.line.toLowerCase().includes(wanted));
  const line = (record) => element('p', { class: `l${record.level}` }, record.line);
  if (added) box.append(...added.filter(fits).map(line)); else box.replaceChildren(...logs.filter(fits).map(line));
  while (box.children.length > LOGS) box.firstChild.remove();
  $('log-none').hidden = box.children.length > 0;
  if ($('log-follow').checked) box.scrollTop = box.scrollHeight;
}

// What the program sends: all at first, then what has changed.
function receive(message) {
  if (message.reset) { state.clear(); lanes.clear(); logs.length = 0; tick = message.tick; $('log').replaceChildren(); }
  now = message.now;
  for (const [key, value] of Object.entries(message.set)) state.set(key, value);
  for (const key of message.gone) { state.delete(key); views.delete(key); }
  const passed = Math.min(CELLS, message.reset ? 0 : message.tick - tick);
  tick = message.tick;
  for (const [key, cells] of lanes) if (!message.lanes[key]) for (let at = 0; at < passed; at++) cells.push([-1, 0]);
  for (const [key, flat] of Object.entries(message.lanes)) {
    const cells = lanes.get(key) || [];
    for (let at = 0; at < flat.length; at += 2) cells.push([flat[at], flat[at + 1]]);
    lanes.set(key, cells);
  }
  for (const [key, cells] of lanes) {
    if (cells.length > CELLS) cells.splice(0, cells.length - CELLS);
    if (!state.has(`worker/${key}`)) lanes.delete(key);
  }
  const pools = [...state].filter(([key]) => key.startsWith('pool/')).map(([, pool]) => pool).sort((a, b) => b.id - a.id);
  order($('pools'), pools.map(showPool));
  $('nothing').hidden = pools.length > 0;
  for (const key of views.keys()) if (key.startsWith('warning/') && !views.get(key).isConnected) views.delete(key);
  if (message.logs.length || message.reset) {
    logs.push(...message.logs);
    logs.splice(0, Math.max(0, logs.length - LOGS));
    showLogs(message.reset ? null : message.logs);
  }
}

function status(name, words) {
  attribute($('status'), 'data-state', name);
  text($('status'), words);
}

function listen() {
  const source = new EventSource(link('events'));
  source.onmessage = (event) => { receive(JSON.parse(event.data)); status('live', 'live'); };
  source.onerror = () => {
    status('lost', 'connection lost, trying again');
    // A browser gives up after some errors.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 1000);
  };
}

// Light and dark.
const themes = ['system', 'light', 'dark'], dark = matchMedia('(prefers-color-scheme: dark)');
let theme = 'system';
try { theme = localStorage.getItem('theme') || theme; } catch (error) { /* The choice lasts for this page only. */ }
function applyTheme() {
  document.documentElement.dataset.theme = theme === 'system' ? (dark.matches ? 'dark' : 'light') : theme;
  text($('theme'), `Theme: ${theme}`);
}
$('theme').addEventListener('click', () => {
  theme = themes[(themes.indexOf(theme) + 1) % themes.length];
  try { localStorage.setItem('theme', theme); } catch (error) { /* As above. */ }
  applyTheme();
});
dark.addEventListener('change', applyTheme);
for (const id of ['log-filter', 'log-level', 'log-follow']) $(id).addEventListener('input', () => showLogs(null));
applyTheme();
listen();
