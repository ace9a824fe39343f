// The entry of the page, in three places: TensorBoard's Landscape tab, the report as an HTML file, and notebooks.

import { mount } from "./page.js";

/** Draw the runs of the log directory; TensorBoard calls this function in the tab's iframe. */
export async function render() {
  const ask = async (path, parameters = []) => {
    // Without an answer in time, the next reading asks again.
    const answer = await fetch(`./${path}?${new URLSearchParams(parameters)}`, { signal: AbortSignal.timeout(30_000) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return answer.json();
  };
  await mount(document.body, {
    live: true,
    overview: () => ask("runs"),
    read: (run) => ask("run", [["run", run]]),
    courses: (runs) => ask("courses", runs.map((run) => ["run", run])),
  });
}

/**
 * Draw these runs; the HTML report and notebooks call this function with the data that the page contains. `times` holds
 * when the page was written as `now`, and when each run last wrote a record as `seen`, both in seconds.
 */
export async function report(runs, { now = null, seen = {} } = {}) {
  const overview = Object.entries(runs).map(([run, parts]) => ({ run, course: parts.course ?? null, seen: seen[run] ?? now, step: null }));
  await mount(document.body, {
    live: false,
    overview: async () => ({ now, folder: null, runs: overview }),
    read: async (run) => ({ parts: runs[run], skipped: 0 }),
    courses: async (names) => Object.fromEntries(names.map((name) => [name, runs[name].course])),
  });
}
