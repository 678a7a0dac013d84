// Several photos: a result for each, one of them on the stage, all of them as CSV.
const AT_ONCE = 2;
let photos = []; // {file, item, said: {result, percent, code, complaint}}

function showSeveral(files, open) {
  for (const { preview } of photos) URL.revokeObjectURL(preview);
  byId("several").hidden = files.length < 2;
  byId("gallery").replaceChildren();
  photos = files.map((file) => ({ file, said: {}, preview: "", item: null }));
  if (files.length < 2) return;
  for (const photo of photos) {
    photo.preview = URL.createObjectURL(photo.file);
    byId("gallery").append(byId("item").content.cloneNode(true));
    photo.item = byId("gallery").lastElementChild;
    photo.item.querySelector("img").src = photo.preview;
    photo.item.querySelector(".name").textContent = photo.file.name;
    photo.item.querySelector("button").onclick = () => open(photo.file);
  }
  const [mine, waiting] = [photos, [...photos]];
  const work = async () => {
    while (waiting.length && mine === photos) await recognizeOne(waiting.shift());
  };
  for (let worker = 0; worker < AT_ONCE; worker += 1) work();
}

async function recognizeOne(photo) {
  const answer = await ask(photo.file, { gradcam: false, top_k: 1 });
  photo.said = answer.success
    ? { result: answer.results?.join(", ") ?? answer.result, percent: answer.detail[0].prob, familiar: answer.confidence?.familiar }
    : { complaint: answer.complaint, code: answer.code };
  const { result, percent, familiar, complaint } = photo.said;
  const strange = familiar === false ? ", unlike what the model was taught" : "";
  photo.item.querySelector(".said").textContent = complaint ?? `${result}, ${percent.toFixed(3)} %${strange}`;
  photo.item.classList.toggle("broken", complaint !== undefined);
}

// A cell that a spreadsheet must not take for a formula starts with an apostrophe.
function cell(value) {
  const text = String(value ?? "");
  return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
}

function asCsv() {
  const rows = photos.map(({ file, said }) => [file.name, said.result, said.percent, said.familiar, said.code, said.complaint]);
  return [["file", "result", "percent", "familiar", "error", "message"], ...rows].map((row) => row.map(cell).join(",")).join("\r\n");
}

function download(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
