// Save a picture as a PNG file, and its numbers as a CSV file.

import { h } from "./elements.js";

const SCALE = 2;  // pixels of the file for each pixel on the screen
const LOOKS = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity",
  "font-size", "font-family", "font-weight", "paint-order", "text-anchor"];

/** Offer the content as a file with the title as its name. */
function download(content, title, ending) {
  const address = URL.createObjectURL(content);
  const link = h("a", { href: address, download: `${title.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")}.${ending}` });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** Return a cell of a CSV file; a text that a spreadsheet would read as a formula begins with an apostrophe. */
function cell(value) {
  if (value == null) return "";
  if (typeof value === "number") return String(value);
  const text = String(value).replace(/^[=+\-@\t\r]/, "'$&");
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export const csvText = (rows) => `${rows.map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;

export const saveCsv = (rows, title) => download(new Blob([csvText(rows)], { type: "text/csv" }), title, "csv");

/** Return a copy of an SVG element that looks the same without the style sheet of the page. */
function standalone(svg) {
  const copy = svg.cloneNode(true), originals = svg.querySelectorAll("*");
  copy.querySelectorAll("*").forEach((node, i) => {
    const look = getComputedStyle(originals[i]);
    node.setAttribute("style", LOOKS.map((name) => `${name}:${look.getPropertyValue(name)}`).join(";"));
  });
  copy.querySelectorAll(".cursor").forEach((node) => node.remove());
  return copy;
}

/** Return the stage of a figure, its canvas and its SVG element, as a canvas with the colour of the card behind it. */
async function painted(stage) {
  const svg = stage.querySelector("svg"), under = stage.querySelector("canvas");
  const width = +svg.getAttribute("width"), height = +svg.getAttribute("height");
  const canvas = h("canvas", { width: SCALE * width, height: SCALE * height }), paint = canvas.getContext("2d");
  paint.scale(SCALE, SCALE);
  paint.fillStyle = getComputedStyle(stage.closest("figure")).backgroundColor;
  paint.fillRect(0, 0, width, height);
  if (under) {
    const [outer, inner] = [svg, under].map((node) => node.getBoundingClientRect());
    paint.drawImage(under, inner.left - outer.left, inner.top - outer.top, inner.width, inner.height);
  }
  const picture = new Image();
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(standalone(svg)))}`;
  await picture.decode();
  paint.drawImage(picture, 0, 0, width, height);
  return canvas;
}

export async function savePng(stage, title) {
  (await painted(stage)).toBlob((blob) => download(blob, title, "png"), "image/png");
}
