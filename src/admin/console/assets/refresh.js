// Shows numbers as they move: asks for the page again and puts its living part in place of the one
// that is there. Without it the pages do all the same.
'use strict';

const EVERY = 1500;
const living = () => document.querySelector('[data-live]');

// A person who reads a value or writes something is not disturbed.
const isInUse = (part) =>
  part.querySelector('svg:hover') !== null || part.contains(document.activeElement) || !getSelection().isCollapsed;

async function refresh() {
  const part = living();
  if (document.hidden || isInUse(part)) return;
  const answer = await fetch(location.href, { headers: { accept: 'text/html', 'x-refresh': '1' } });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  const fresh = page.querySelector('[data-live]');
  // Nothing that lives: somebody was logged out.
  if (fresh === null) location.reload();
  else if (fresh.innerHTML !== part.innerHTML && !isInUse(part)) part.replaceWith(document.adoptNode(fresh));
}

async function keepRefreshing() {
  // A server that is away comes back.
  await refresh().catch(() => {});
  setTimeout(keepRefreshing, EVERY);
}

if (living() !== null) setTimeout(keepRefreshing, EVERY);
