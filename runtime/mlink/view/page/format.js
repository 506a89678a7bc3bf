// Numbers as a person reads them.

/** A time in µs, in the unit that fits. */
export function duration(usec) {
  const size = Math.abs(usec);
  if (usec < 0) return `−${duration(size)}`;
  if (size < 1000) return `${Math.round(usec)} µs`;
  if (size < 1e6) return `${(usec / 1e3).toFixed(size < 1e4 ? 2 : 1)} ms`;
  if (size < 6e7) return `${(usec / 1e6).toFixed(size < 1e7 ? 2 : 1)} s`;
  return clock(usec / 1e6);
}

/** A time since the start of the run, from seconds. */
export function clock(seconds) {
  const whole = Math.max(0, seconds);
  const h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60, s = whole % 60;
  const text = s.toFixed(1).padStart(4, "0");
  return h ? `${h}:${String(m).padStart(2, "0")}:${text}` : `${m}:${text}`;
}

export function count(number) {
  return number.toLocaleString("en-US");
}

export function rate(hz) {
  if (hz >= 1000) return `${(hz / 1000).toFixed(1)} kHz`;
  return `${hz.toFixed(hz < 10 ? 1 : 0)} /s`;
}

/** A size in bytes. */
export function bytes(number) {
  const power = Math.min(4, Math.floor(Math.log10(Math.max(1, number)) / 3));
  return `${(number / 1000 ** power).toFixed(power ? 1 : 0)} ${["bytes", "kB", "MB", "GB", "TB"][power]}`;
}

/** An element with attributes and children; texts are never read as HTML. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.map((child) => child ?? ""));
  return element;
}
