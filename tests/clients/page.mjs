// Uses the page at the given address as people do, and prints one line of JSON for each thing that it does: [name, fault or null].
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [url, executablePath, photo, broken, folder] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const told = [];

async function opened(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, bypassCSP: false, ...options });
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && told.push(message.text()));
  page.on("pageerror", (error) => told.push(String(error)));
  await page.goto(url);
  return page;
}

async function answered(page, act) {
  const response = page.waitForResponse((one) => one.request().method() === "POST");
  await act();
  await response;
  await page.waitForFunction(() => !document.getElementById("answer").inert && document.getElementById("stage").ariaBusy !== "true");
}

const give = (page, ...files) => answered(page, () => page.locator("#photo").setInputFiles(files));
const pixels = (page, id = "first") => page.locator(`#${id} canvas`).evaluate((canvas) => canvas.toDataURL());
const text = (page, id) => page.locator(`#${id}`).innerText();
const shot = (page, name) => page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });

function expect(condition, what) {
  if (!condition) throw new Error(what);
}

async function posts(page, act) {
  let count = 0;
  const counting = (request) => request.method() === "POST" && (count += 1);
  page.on("request", counting);
  await act();
  await page.waitForTimeout(400);
  page.off("request", counting);
  return count;
}

const checks = {
  async "the first view is small, one request, and of no other origin"() {
    const page = await browser.newPage();
    const requests = [];
    page.on("response", async (response) => requests.push([response.url(), (await response.body()).length]));
    await page.goto(url, { waitUntil: "networkidle" });
    expect(requests.length === 1, `there were ${requests.length} requests`);
    expect(requests[0][1] < 150_000, `it has ${requests[0][1]} bytes`);
    expect(!(await page.locator("#lock").isVisible()), "it asks for a key");
    await shot(page, "empty");
  },
  async "another class, color map or strength needs no request"() {
    const page = await opened();
    await give(page, photo);
    await shot(page, "answer");
    const first = await pixels(page);
    const count = await posts(page, async () => {
      await page.locator("#classes button").nth(1).click();
      const second = await pixels(page);
      expect(second !== first, "the heat of another class is the same");
      await page.locator("#colormap").selectOption("viridis");
      const third = await pixels(page);
      expect(third !== second, "the color map changes nothing");
      await page.locator("#alpha").fill("0.9");
      expect((await pixels(page)) !== third, "the strength changes nothing");
    });
    expect(count === 0, `there were ${count} requests`);
    expect((await text(page, "shown")).startsWith("Heat: the pixels that speak for"), await text(page, "shown"));
    expect(await page.locator("#legend").isVisible(), "there is no legend");
  },
  async "the photo without heat is shown while a key or the button is held"() {
    const page = await opened();
    await give(page, photo);
    const heat = await pixels(page);
    await page.keyboard.down("h");
    const plain = await pixels(page);
    await page.keyboard.up("h");
    expect(plain !== heat && (await pixels(page)) === heat, "the key does not show the photo");
    await page.locator("#plain").hover();
    await page.mouse.down();
    expect((await pixels(page)) === plain, "the button does not show the photo");
    await page.mouse.up();
    expect((await pixels(page)) === heat, "the heat does not come back");
  },
  async "two classes are compared side by side, and one against the other"() {
    const page = await opened();
    await give(page, photo);
    const count = await posts(page, () => page.locator("#compared").selectOption({ index: 1 }));
    expect(count === 0, "the comparison needs a request");
    expect(await page.locator("#second").isVisible(), "there is no second photo");
    expect((await pixels(page, "first")) !== (await pixels(page, "second")), "both have the same heat");
    await shot(page, "compare");
    await answered(page, () => page.locator("#versus").check());
    expect((await text(page, "shown")).includes(" and not for "), await text(page, "shown"));
  },
  async "the method is chosen from a list"() {
    const page = await opened();
    await give(page, photo);
    const first = await pixels(page);
    await answered(page, () => page.locator("#method").selectOption("layercam"));
    expect((await pixels(page)) !== first, "another method gives the same heat");
  },
  async "several photos become a gallery, and a table as CSV"() {
    const page = await opened();
    const files = Array.from({ length: 10 }, (_, index) => ({
      name: index === 1 ? "=2+3.jpg" : `photo ${index}.jpg`,
      mimeType: "image/jpeg",
      buffer: readFileSync(index % 5 === 3 ? broken : photo),
    }));
    await page.locator("#photo").setInputFiles(files);
    await page.waitForFunction(() => [...document.querySelectorAll("#gallery .said")].every((one) => !one.textContent.startsWith("Waiting")));
    expect((await page.locator("#gallery li").count()) === 10, "not every photo is there");
    expect((await page.locator("#gallery .broken").count()) === 2, "the broken ones are not told");
    await shot(page, "gallery");
    const saved = page.waitForEvent("download");
    await page.locator("#csv").click();
    const rows = readFileSync(await (await saved).path(), "utf8").split("\r\n");
    expect(rows.length === 11 && rows[0] === '"file","result","percent","familiar","error","message"', rows[0]);
    expect(rows[2].startsWith(`"'=2+3.jpg","`), `a formula stays one: ${rows[2]}`);
    expect(rows[4].includes("broken_image") || rows[4].includes("unsupported_image"), rows[4]);
    await answered(page, () => page.locator("#gallery li").nth(2).locator("button").click());
  },
  async "an error is told in words, and the next photo is answered"() {
    const page = await opened();
    await page.locator("#photo").setInputFiles(broken);
    await page.locator("#alert").waitFor();
    expect((await text(page, "complaint")).length > 20, "there are no words");
    expect(!(await page.locator("#again").isVisible()), "it offers to ask again for what stays broken");
    await give(page, photo);
    expect(!(await page.locator("#alert").isVisible()), "the complaint stays");
  },
  async "a service that cannot be reached is told"() {
    const page = await opened();
    await page.context().setOffline(true);
    await page.locator("#photo").setInputFiles(photo);
    await page.locator("#again").waitFor();
    expect((await text(page, "complaint")).includes("cannot be reached"), await text(page, "complaint"));
    await page.context().setOffline(false);
    await answered(page, () => page.locator("#again").click());
    told.splice(0, told.length, ...told.filter((one) => !one.includes("ERR_INTERNET_DISCONNECTED")));
  },
  async "the model has a card, whose classes can be searched"() {
    const page = await opened();
    await page.locator("#card summary").click();
    await page.locator("#labels li").first().waitFor();
    const all = await page.locator("#labels li").count();
    await page.locator("#search").fill("cat");
    const found = await page.locator("#labels li").count();
    expect(all > found && found > 0, `${found} of ${all}`);
    expect((await text(page, "facts")).includes("Network"), await text(page, "facts"));
  },
  async "the request is there as code"() {
    const page = await opened();
    await give(page, photo);
    await page.locator("#code summary").click();
    for (const [language, word] of [["curl", "curl"], ["Python", "requests.post("], ["JavaScript", "await fetch("]]) {
      await page.locator("#language").selectOption(language);
      const code = await text(page, "snippet");
      expect(code.includes(word) && code.includes("/image_recognition_file") && code.includes("heatmaps"), code);
    }
  },
  async "a sample is answered"() {
    const page = await opened();
    await answered(page, () => page.locator("[data-sample=cat]").click());
    expect((await text(page, "result")).includes("cat"), await text(page, "result"));
  },
  async "a pasted photo is answered"() {
    const page = await opened();
    const bytes = readFileSync(photo).toString("base64");
    await answered(page, () => page.evaluate((encoded) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0))], "pasted.jpg", { type: "image/jpeg" }));
      document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
    }, bytes));
  },
  async "the keyboard reaches everything"() {
    const page = await opened();
    await give(page, photo);
    const reached = new Set();
    for (let press = 0; press < 60; press += 1) {
      await page.keyboard.press("Tab");
      reached.add(await page.evaluate(() => document.activeElement.id || document.activeElement.className || document.activeElement.tagName));
    }
    for (const one of ["photo", "row", "compared", "method", "colormap", "alpha", "plain"]) expect(reached.has(one), `${one} is not reached, but ${[...reached]}`);
    await page.locator("#classes button").nth(1).focus();
    await page.keyboard.press("Enter");
    expect((await page.locator("#classes button").nth(1).getAttribute("aria-pressed")) === "true", "Enter does not choose");
  },
  async "a phone has room for all of it"() {
    const page = await opened({ viewport: { width: 375, height: 740 }, hasTouch: true, isMobile: true });
    await give(page, photo);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    expect(wide <= 375, `it is ${wide} pixels wide`);
    expect(await page.locator("#camera").isVisible(), "it cannot take a photo");
    await shot(page, "phone");
  },
  async "axe finds nothing, in light and in dark"() {
    for (const colorScheme of ["light", "dark"]) {
      const page = await opened({ colorScheme, bypassCSP: true });
      await give(page, photo);
      for (const id of ["card", "code"]) await page.locator(`#${id} summary`).click();
      await page.locator("#labels li").first().waitFor();
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      expect(violations.length === 0, JSON.stringify(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html.slice(0, 120))])));
      if (colorScheme === "dark") await shot(page, "dark");
    }
  },
};

const only = process.env.ONLY;
for (const [name, check] of Object.entries(checks)) {
  if (only && !name.includes(only)) continue;
  told.length = 0;
  let fault = null;
  try {
    await check();
  } catch (error) {
    fault = String(error).split("\n")[0];
  }
  // Of answers that are errors the browser itself says so.
  const complaints = told.filter((one) => !one.startsWith("Failed to load resource: the server responded with a status of 4"));
  console.log(JSON.stringify([name, fault ?? (complaints.length ? complaints.join("; ") : null)]));
  for (const context of browser.contexts()) await context.close();
}
await browser.close();
