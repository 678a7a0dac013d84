// The request that was sent last, as code.
function snippet(language, name, options) {
  const url = new URL("image_recognition_file", location.href).href;
  const key = byId("key").value !== "";
  const said = fields(options);
  const text = (value) => JSON.stringify(String(value));
  if (language === "curl") {
    const quoted = (value) => `'${String(value).replaceAll("'", "'\\''")}'`;
    const file = `"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`; // else it ends at a comma or a semicolon
    const parts = [`-F ${quoted(`img=@${file}`)}`, ...said.map(([field, value]) => `--form-string ${quoted(`${field}=${value}`)}`)];
    if (key) parts.unshift(`-H 'Authorization: Bearer <key>'`);
    return ["curl", ...parts, quoted(url)].join(" \\\n  ");
  }
  if (language === "Python") {
    const headers = key ? `,\n    headers={"Authorization": "Bearer <key>"}` : "";
    return `import requests

answer = requests.post(
    ${text(url)},
    files={"img": open(${text(name)}, "rb")},
    data={${said.map(([field, value]) => `${text(field)}: ${text(value)}`).join(", ")}}${headers},
).json()`;
  }
  const headers = key ? `, headers: { Authorization: "Bearer <key>" }` : "";
  return `const body = new FormData();
body.set("img", file); // a File, such as input.files[0]
${said.map(([field, value]) => `body.set(${text(field)}, ${text(value)});\n`).join("")}const response = await fetch(${text(url)}, { method: "POST", body${headers} });
const answer = await response.json();`;
}
