// Verdicts, and how they are shown: a table, JSON, a chart.

import { median } from './measure.mjs';

/** What the rounds of a row come to. Ratios are taken within a round, where the machine was the same. */
export function verdict(row, { ours, theirs }) {
  const measured = median(ours);
  const beside = theirs && median(theirs);
  const limit = row.most ?? row.least;
  const ratio = theirs ? median(ours.map((value, round) => value / theirs[round])) : measured / limit;
  const value = theirs ? ratio : measured;
  const reached = row.most === undefined ? value >= limit : value <= limit;
  return { status: reached ? 'pass' : 'SHORT', measured, beside, ratio, value, limit, rounds: { ours, theirs } };
}

/** One line of the table and of the chart, as text. */
function cells({ row, result }) {
  const measured = result.measured === undefined ? '-' : `${number(result.measured)} ${row.unit}`;
  const beside = row.against && result.beside !== undefined ? `${row.against} ${number(result.beside)} ${row.unit}` : '';
  const ratio = result.ratio === undefined ? '-' : result.ratio.toFixed(2);
  return { measured, beside, target: target(row), ratio, status: result.status };
}

function target(row) {
  const limit = row.most ?? row.least;
  const bound = row.most === undefined ? '≥' : '≤';
  const goal = row.goal ? `, goal ${row.goal.toFixed(2)}` : '';
  return row.against ? `${bound} ${limit.toFixed(2)} × ${row.against}${goal}` : `${bound} ${number(limit)} ${row.unit}`;
}

/** 12345.6 as "12,346", 12.345 as "12.3", 1.2345 as "1.23". */
function number(value) {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString('en', { maximumFractionDigits: digits, minimumFractionDigits: digits * (value % 1 !== 0) });
}

/** The table, as lines of text. */
export function table(results, sizes) {
  const heads = ['row', 'what', 'measured', 'beside', 'target', 'ratio', ''];
  const lines = results.map((entry) => {
    const { measured, beside, target, ratio, status } = cells(entry);
    return [entry.row.name, entry.row.title(sizes), measured, beside, target, ratio, status];
  });
  const widths = heads.map((head, column) => Math.max(...[heads, ...lines].map((line) => line[column].length)));
  const rule = widths.map((width) => '-'.repeat(width));
  const text = [heads, rule, ...lines].map((line) =>
    line.map((cell, column) => cell.padEnd(widths[column])).join('  ').trimEnd());
  const reasons = results.filter(({ result }) => result.reason)
    .map(({ row, result }) => `${row.name}: ${result.status}: ${result.reason}`);
  return [...text, ...reasons].join('\n');
}

/** The results as JSON, every round included. */
export function json(results, sizes, facts) {
  const rows = results.map(({ row, result }) => ({
    name: row.name, title: row.title(sizes), unit: row.unit, against: row.against, target: target(row), ...result,
  }));
  return `${JSON.stringify({ ...facts, rows }, null, 2)}\n`;
}

const CHART = { width: 1080, titles: 400, bars: 300, line: 34, top: 76, bottom: 30 };
const COLOURS = { pass: '#2a9d62', SHORT: '#d1495b', other: '#888888' };

/** The results as an SVG chart: how far each row is from its target, which is the line in the middle. */
export function chart(results, sizes, { date, mode, machine }) {
  const { width, titles, bars, line, top, bottom } = CHART;
  const middle = titles + bars / 2;
  const height = top + line * results.length + bottom;
  const text = (x, y, string, attributes = '') => `<text x="${x}" y="${y}" ${attributes}>${escape(string)}</text>`;
  const rows = results.map((entry, index) => {
    const { row, result } = entry;
    const { measured, beside, target, ratio } = cells(entry);
    const y = top + line * index;
    const colour = COLOURS[result.status] ?? COLOURS.other;
    const label = result.value === undefined ? result.status : `${measured}${beside && `, ${beside}`}: ${ratio}`;
    // Twice as good as the target fills the width; better than that looks the same.
    const score = result.value === undefined ? 0
      : Math.min(2, row.most === undefined ? result.value / result.limit : result.limit / result.value);
    return [
      text(titles - 10, y + 15, row.title(sizes), 'text-anchor="end"'),
      `<rect x="${titles}" y="${y + 3}" width="${(score * bars / 2).toFixed(1)}" height="18" rx="2" fill="${colour}"/>`,
      text(titles + bars + 10, y + 11, label, 'class="value"'),
      text(titles + bars + 10, y + 25, `target ${target}`, 'class="small"'),
    ].join('\n');
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">
<style>text { font: 13px sans-serif; fill: #222222 } .head { font-size: 17px; font-weight: 600 } .value { font-weight: 600 } .small { font-size: 11px; fill: #666666 }</style>
<rect width="${width}" height="${height}" fill="#ffffff"/>
${text(16, 28, 'mina-auth: measured and wanted', 'class="head"')}
${text(16, 48, `${date.slice(0, 10)}, ${mode}, ${machine.cpu}, ${machine.cpus.length} cores, load generator beside the server`, 'class="small"')}
${text(middle, top - 8, 'target', 'text-anchor="middle" class="small"')}
${text(titles + bars, top - 8, 'better →', 'text-anchor="end" class="small"')}
${rows.join('\n')}
<line x1="${middle}" y1="${top - 4}" x2="${middle}" y2="${height - bottom + 4}" stroke="#222222" stroke-dasharray="4 3"/>
</svg>
`;
}

function escape(text) {
  return text.replace(/[&<>]/g, (char) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[char]);
}
