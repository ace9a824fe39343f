// The choice of runs in the address of the page, so that a link shows the same runs.

const KEY_OF_RUNS = "p.lightning_landscape.runs";  // TensorBoard's form for the parameters of a plugin

/** Return the window whose address the user sees: that of TensorBoard around the tab. */
const visibleWindow = () => {
  try {
    return window.parent !== window && window.parent.location.hash !== undefined ? window.parent : window;
  } catch {
    return window;  // in a notebook, the page may not see the one around it
  }
};

const partsOf = (hash) => hash.replace(/^#/, "").split("&").filter(Boolean);

/** Return the names of the runs in the address; null if it has none. */
export function runsInAddress() {
  try {
    const part = partsOf(visibleWindow().location.hash).find((one) => one.startsWith(`${KEY_OF_RUNS}=`));
    return part == null ? null : part.slice(KEY_OF_RUNS.length + 1).split(",").filter(Boolean).map(decodeURIComponent);
  } catch {
    return null;
  }
}

/** Write the names of the runs into the address. */
export function writeAddress(names) {
  const page = visibleWindow();
  const own = `${KEY_OF_RUNS}=${[...names].map((name) => encodeURIComponent(name).replaceAll("'", "%27")).join(",")}`;
  try {
    const others = partsOf(page.location.hash).filter((one) => !one.startsWith(`${KEY_OF_RUNS}=`));
    page.history.replaceState(page.history.state, "", `#${[...others, own].join("&")}`);
  } catch {
    // A page without an address of its own, as in a notebook, keeps the choice only until it is closed.
  }
}
