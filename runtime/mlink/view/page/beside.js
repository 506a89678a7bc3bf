// Two recordings beside each other: the page of each in a frame of its own.

import { make } from "./format.js";
import { wireTheme } from "./theme.js";

const given = new URLSearchParams(location.search), channel = `mlink ${Math.random()}`;
for (const of of given.getAll("of").slice(0, 2)) {
  const src = `/recording?${new URLSearchParams({ of, beside: channel })}${location.hash}`;
  document.getElementById("both").append(make("iframe", { src, title: `recording ${of}` }));
}
wireTheme(document.getElementById("theme"));
