// Numbers: their range, and how they are written.

export const finite = (values) => values.filter((value) => typeof value === "number" && Number.isFinite(value));

/** Return the lowest and the highest finite value; [0, 1] if there is none. */
export const extent = (values) => {
  let low = Infinity, high = -Infinity;
  for (const value of finite(values)) { low = Math.min(low, value); high = Math.max(high, value); }
  return low <= high ? [low, high] : [0, 1];
};

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** Return the index of the position that is nearest to `at`. */
export const nearest = (positions, at) => {
  let best = 0;
  positions.forEach((position, i) => { if (Math.abs(position - at) < Math.abs(positions[best] - at)) best = i; });
  return best;
};

/** Return a number with about four digits, as text. */
export const number = (value) => {
  if (typeof value !== "number" || !Number.isFinite(value)) return "not finite";
  const size = Math.abs(value);
  const plain = size === 0 || (size >= 1e-3 && size < 1e6);
  const [digits, power] = plain ? [String(+value.toPrecision(4)), null] : value.toExponential(2).split("e");
  return `${plain ? digits : +digits}${plain ? "" : `e${+power}`}`.replaceAll("-", "−");
};

/** Return a whole number with commas between thousands, as text. */
export const count = (value) => Number(value).toLocaleString("en-US");
export const percent = (share) => `${number(+(100 * share).toPrecision(3))}%`;
export const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

/** Return the text, or its first 220 characters up to the end of a word. */
export const brief = (text) => (text.length > 220 ? `${text.slice(0, text.lastIndexOf(" ", 220))} …` : text);

/** Return the end of the text, at most `length` characters with an ellipsis. */
export const ending = (text, length) => (text.length > length ? `…${text.slice(1 - length)}` : text);

export const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);
