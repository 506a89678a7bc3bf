// Dark or light: as the system has it, until somebody chooses.

/** Returns a colour of the style as it is now. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Lets a button switch; `onChange` is called after each change. */
export function wireTheme(button, onChange = () => {}) {
  const set = (theme) => {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("mlink theme", theme);
    onChange();
  };
  button.addEventListener("click", () => {
    const chosen = document.documentElement.dataset.theme;
    const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    set(dark ? "light" : "dark");
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => onChange());
  addEventListener("storage", ({ key, newValue }) => {
    if (key !== "mlink theme" || !newValue) return;
    document.documentElement.dataset.theme = newValue; // another page, or a frame of this one
    onChange();
  });
  const kept = localStorage.getItem("mlink theme");
  if (kept) set(kept);
}
