// Questions to mlink by HTTP.

/** Returns the answer, read from JSON or as the bytes of a picture; what fails is an error in words. */
export async function ask(path, options = {}) {
  const answer = await fetch(path, options).catch(() => null);
  if (answer === null) throw new Error("The connection is lost: mlink has ended, or the computer cannot be reached.");
  if (answer.headers.get("content-type")?.startsWith("application/octet-stream")) return answer.arrayBuffer();
  if (answer.status === 401) throw new Error("Open the address that the terminal shows, with its token.");
  const found = await answer.json();
  if (found.error) throw new Error(`${found.error}${found.remedy ? ` → ${found.remedy}` : ""}`);
  return found;
}
