// What all scripts of checks have in common: node SCRIPT CHROMIUM FOLDER ..., the folder for screenshots.
// Each prints one line of JSON for each thing that it does: [name, fault or null].
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [executablePath, folder] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
export const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--host-resolver-rules=MAP page.test 127.0.0.1"] });
const told = [];

export async function opened(url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, bypassCSP: false, ...options });
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && told.push(message.text()));
  page.on("pageerror", (error) => told.push(String(error)));
  page.on("request", (request) => {
    if (![new URL(url).origin, "null"].includes(new URL(request.url()).origin)) told.push(`asks for ${request.url()}`);
  });
  await page.goto(url);
  return page;
}

export async function answered(page, act) {
  const response = page.waitForResponse((one) => one.request().method() === "POST");
  await act();
  await response;
  await page.waitForFunction(() => !document.getElementById("answer").inert && document.getElementById("stage").ariaBusy !== "true");
}

export async function allAnswered(page, files) {
  await page.locator("#file").setInputFiles(files);
  await noneWaits(page);
}

export async function noneWaits(page) {
  await page.waitForFunction(() => [...document.querySelectorAll("#gallery .said")].every((one) => !one.textContent.startsWith("Waiting")));
}

export const give = (page, ...files) => answered(page, () => page.locator("#file").setInputFiles(files));
export const pixels = (page, id = "first") => page.locator(`#${id} canvas`).evaluate((canvas) => canvas.toDataURL());
export const text = (page, id) => page.locator(`#${id}`).innerText();
export const shot = (page, name, options = { fullPage: true }) => page.screenshot({ path: `${folder}/${name}.png`, ...options });

export async function table(page) {
  const saved = page.waitForEvent("download");
  await page.locator("#csv").click();
  const csv = readFileSync(await (await saved).path(), "utf8");
  expect(csv.startsWith("\ufeff"), "a spreadsheet would garble names that are not ASCII");
  return csv.slice(1).split("\r\n");
}

export function expect(condition, what) {
  if (!condition) throw new Error(what);
}

export async function accessible(page, state) {
  if (!(await page.evaluate(() => globalThis.axe))) await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const found = violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html.slice(0, 120))]);
  expect(found.length === 0, `${state}: ${JSON.stringify(found)}`);
}

export async function posts(page, act) {
  let count = 0;
  const counting = (request) => request.method() === "POST" && (count += 1);
  page.on("request", counting);
  await act();
  await page.waitForTimeout(200);
  page.off("request", counting);
  return count;
}

// What the browser says of requests that were meant to fail.
export const forgive = (what) => told.splice(0, told.length, ...told.filter((one) => !one.includes(what)));

export async function run(checks) {
  for (const [name, check] of Object.entries(checks)) {
    if (process.env.ONLY && !name.includes(process.env.ONLY)) continue;
    told.length = 0;
    let fault = null;
    try {
      await check();
    } catch (error) {
      fault = String(error).split("\n")[0];
    }
    forgive("Failed to load resource: the server responded with a status of "); // of answers that are errors it says so
    console.log(JSON.stringify([name, fault ?? (told.join("; ") || null)]));
    for (const context of browser.contexts()) await context.close();
  }
  await browser.close();
}
