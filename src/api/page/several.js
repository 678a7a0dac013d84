// Several images: a result for each, one of them on the stage, all of them as CSV.
const AT_ONCE = 2;
let images = []; // {file, preview, item, found: null, {seen, familiar}, or a refusal()}

function showSeveral(files, open) {
  for (const { preview } of images) URL.revokeObjectURL(preview);
  byId("several").hidden = files.length < 2;
  byId("gallery").replaceChildren();
  images = files.length < 2 ? [] : files.map((file) => ({ file, found: null, preview: URL.createObjectURL(file), item: null }));
  for (const image of images) {
    byId("gallery").append(byId("item").content.cloneNode(true));
    image.item = byId("gallery").lastElementChild;
    image.item.querySelector("img").src = image.preview;
    image.item.querySelector(".name").textContent = image.file.name;
    image.item.querySelector("button").onclick = () => {
      retrySeveral();
      open(image.file);
    };
  }
  recognizeAll(images);
}

// Ask once more for the images that may have an answer now, such as with the right key.
const retrySeveral = () => recognizeAll(images.filter(({ found }) => found?.retry));

function recognizeAll(some) {
  const [mine, waiting] = [images, [...some]];
  for (const image of waiting) tell(image, null);
  const work = async () => {
    while (waiting.length && mine === images) await recognizeOne(waiting.shift());
  };
  for (let worker = 0; worker < AT_ONCE; worker += 1) work();
}

async function recognizeOne(image) {
  const model = await knownModel();
  const listed = model.output?.kind === "multilabel" ? model.labels.length : 1; // any class may be seen
  const answer = model.success ? await ask(image.file, { gradcam: false, top_k: listed }) : model; // else classes may be missing
  tell(image, answer.success ? classesIn(answer) : answer);
}

function tell(image, found) {
  image.found = found;
  image.item.querySelector(".said").textContent = found ? (found.trouble ?? inWords(found)) : "Waiting…";
  image.item.querySelector("button").title = found?.complaint ?? "";
  image.item.classList.toggle("broken", found?.trouble !== undefined);
}

// What is in an image: classes with their percentages, of a multi-label model any number of them.
function classesIn({ detail, results, confidence }) {
  const seen = results ? detail.filter(({ class: name }) => results.includes(name)) : detail.slice(0, 1);
  return { seen: seen.map(({ class: name, prob }) => [name, prob]), familiar: confidence?.familiar };
}

function inWords({ seen, familiar }) {
  const classes = seen.map(([name, percent]) => `${name}, ${said(percent)}`).join("; ");
  return `${classes || "none of the classes"}${familiar === false ? "; unlike the training images" : ""}`;
}

// A cell that a spreadsheet must not take for a formula starts with an apostrophe.
function cell(value) {
  const text = String(value ?? "");
  return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
}

function asCsv() {
  const rows = images.map(({ file, found }) => {
    const { seen, familiar, code, trouble, complaint } = found ?? { trouble: "No answer yet", complaint: "Download the table again later." };
    const [names, percents] = [0, 1].map((column) => seen?.map((one) => one[column]).join("; "));
    return [file.name, names, percents, familiar, code, trouble && `${trouble}. ${complaint}`];
  });
  return [["file", "result", "percent", "familiar", "error", "message"], ...rows].map((row) => row.map(cell).join(",")).join("\r\n");
}

// Without the byte order mark, spreadsheets assume another encoding and garble names.
function download(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
