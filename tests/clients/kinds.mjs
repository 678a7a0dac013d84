// The page with tiny models: of one output and one channel, of several labels, of two classes that have learned of their answers.
import { readFileSync } from "node:fs";
import { accessible, allAnswered, answered, expect, give, noneWaits, opened, pixels, posts, run, shot, table, text } from "./browser.mjs";

const [binary, multilabel, learned, photo, broken, familiar] = process.argv.slice(4);
const FINDINGS = ["cat", "dog", "grass", "sky", "sofa", "tree"]; // of any image, and "fog" of none
const PHONE = { viewport: { width: 375, height: 740 }, hasTouch: true, isMobile: true };

const several = [photo, broken].map((file, index) => ({ name: `${index}.jpg`, mimeType: "image/jpeg", buffer: readFileSync(file) }));
const numbers = (line) => [...line.matchAll(/\d+\.\d{3}/g)].map(Number);

// Where the borders of all bars are, in percent of their width; null where there is none.
const borders = (page) => page.locator("#classes .bar").evaluateAll((bars) => bars.map((bar) => {
  const { content, left } = getComputedStyle(bar, "::after");
  return content === "none" ? null : Math.round((100 * (parseFloat(left) + 1)) / bar.clientWidth);
}));

async function answerTo(page) {
  const response = page.waitForResponse((one) => one.url().endsWith("/image_recognition_file"));
  await give(page, photo);
  return (await response).json();
}

await run({
  async "a binary model has two classes, a border at 50 % and nothing else"() {
    const page = await opened(binary);
    const answer = await answerTo(page);
    await page.locator(".bordered").first().waitFor();
    const rows = await page.locator("#classes button").allInnerTexts();
    expect(rows.length === 2 && answer.detail.every(({ class: name }, place) => rows[place].startsWith(name)), String(rows));
    expect(numbers(rows.join(" ")).reduce((sum, one) => sum + one) === 100, String(rows));
    expect(!(await page.locator("#other").isVisible()), "there are other classes");
    expect(String(await borders(page)) === "50,50", String(await borders(page)));
    expect((await text(page, "result")) === answer.result, await text(page, "result"));
    const words = await text(page, "sure");
    expect(words.includes("at 50 %") && words.includes("not calibrated"), words);
    await shot(page, "binary");
  },
  async "two classes of a binary model are compared, and one against the other"() {
    const page = await opened(binary);
    await give(page, photo);
    const offered = await page.locator("#compared option").allInnerTexts();
    expect(offered.length === 2, String(offered));
    expect((await posts(page, () => page.locator("#compared").selectOption({ index: 1 }))) === 0, "it needs a request");
    expect((await pixels(page, "first")) !== (await pixels(page, "second")), "both have the same heat");
    await answered(page, () => page.locator("#versus").check());
    expect((await text(page, "shown")).includes(" and not for "), await text(page, "shown"));
  },
  async "classes whose names are numbers are named, because their indices would be taken for names"() {
    const page = await opened(binary);
    const labels = ["1", "0"];
    await page.route("**/model", async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: JSON.stringify({ ...(await response.json()), labels }) });
    });
    await give(page, photo);
    await page.locator(".bordered").first().waitFor();
    await page.locator("#compared").selectOption({ index: 1 });
    await page.locator("#versus").check();
    await page.locator("#alert").waitFor(); // the model itself has no such classes
    const { target, versus } = await page.evaluate(() => state.options);
    expect([target, versus].toSorted().join() === '"0","1"', `it asks for ${target} against ${versus}`);
  },
  async "where another model answers than the page knows, the page asks what that one is"() {
    const page = await opened(binary);
    let count = 0;
    await page.route("**/model", async (route) => {
      const response = await route.fetch();
      const earlier = (count += 1) === 1 ? { model: "tiny:0", calibrated: true } : {};
      await route.fulfill({ response, body: JSON.stringify({ ...(await response.json()), ...earlier }) });
    });
    const told = (words) => page.waitForFunction((some) => document.getElementById("sure").textContent.includes(some), words);
    await give(page, photo);
    await told("are calibrated");
    await give(page, familiar);
    await told("are not calibrated");
    await give(page, photo);
    await page.waitForTimeout(200);
    expect(count === 2, `it asks ${count} times`);
  },
  async "a model of one channel takes samples and shows heat on the colored image"() {
    const page = await opened(binary);
    await answered(page, () => page.locator("[data-sample=cat]").click());
    await page.locator("#classes button").nth((await text(page, "shown")).startsWith("No heat") ? 1 : 0).click();
    const heat = await pixels(page);
    await page.keyboard.down("h");
    const plain = await pixels(page);
    expect(plain !== heat, "there is no heat");
    const colored = await page.locator("#first canvas").evaluate((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.some((value, at) => at % 4 === 0 && Math.abs(value - data[at + 2]) > 40);
    });
    expect(colored, "the image has lost its colors");
    await page.keyboard.up("h");
    await page.locator("#card summary").click();
    await page.locator("#facts div").first().waitFor();
    const facts = await text(page, "facts");
    expect(facts.includes("gray") && facts.includes("one of two classes"), facts);
  },
  async "a gallery and a table of a binary model have the class of each image"() {
    const page = await opened(binary);
    await allAnswered(page, several);
    const rows = await table(page);
    expect(/^"0.jpg","(healthy|ill)","\d+(\.\d+)?","","",""$/.test(rows[1]), rows[1]);
    expect(rows[2].includes('"broken_image"'), rows[2]);
    expect(/(healthy|ill), \d+\.\d{3}/.test(await page.locator("#gallery .said").first().innerText()), "the class is not there");
  },
  async "a multi-label model has every class above its threshold as its answer"() {
    const page = await opened(multilabel);
    const { results, other } = await answerTo(page);
    expect(other === null && String(results.toSorted()) === String(FINDINGS), String(results));
    await page.locator(".bordered").first().waitFor();
    expect((await text(page, "result")) === results.join(", "), await text(page, "result"));
    const rows = await page.locator("#classes button").allInnerTexts();
    expect(rows.length === 7 && rows[0].startsWith("fog"), `not all are listed: ${rows}`);
    expect(rows.filter((row) => row.startsWith("✓")).length === 6, `not all are marked: ${rows}`);
    expect(!(await page.locator("#other").isVisible()), "there are other classes");
    expect((await borders(page))[0] === 99 && (await borders(page)).slice(1).every((one) => one < 4), String(await borders(page)));
    expect(rows[0].includes("needs 99"), rows[0]);
    expect((await text(page, "sure")).includes("thresholds"), await text(page, "sure"));
    const pressed = await page.locator("#classes [aria-pressed=true]").innerText();
    expect(pressed.includes(results[0]), `${pressed} is explained`);
    await shot(page, "multilabel");
  },
  async "no evidence for a class is told in words, and leaves the image as it is"() {
    const page = await opened(multilabel);
    await give(page, photo);
    const row = page.locator("#classes button", { hasText: "fog" });
    const inner = () => page.locator("#first canvas").evaluate((canvas) => {
      const [x, y] = [canvas.width / 2 - 20, canvas.height / 2 - 20].map(Math.round);
      return String(canvas.getContext("2d").getImageData(x, y, 40, 40).data);
    });
    const hot = await inner();
    await row.click();
    const cold = await inner();
    expect((await text(page, "shown")) === "No heatmap: nothing in the image supports fog.", await text(page, "shown"));
    await page.keyboard.down("h");
    expect((await inner()) === cold && cold !== hot, "there is heat, or there was none before");
    await page.keyboard.up("h");
  },
  async "a gallery and a table of a multi-label model have all classes of each image, and their percentages"() {
    const page = await opened(multilabel);
    await allAnswered(page, several);
    const said = await page.locator("#gallery .said").first().innerText();
    expect(FINDINGS.every((name) => said.includes(name)) && !said.includes("fog"), said);
    const [, names, percents] = (await table(page))[1].split('","');
    expect(String(names.split("; ").toSorted()) === String(FINDINGS) && percents.split("; ").length === 6, `${names} ${percents}`);
    expect(String(numbers(said)) === String(percents.split("; ").map(Number)), `${said}, but ${percents}`);
    await page.locator("#compared").selectOption({ label: "fog" });
    expect(await page.locator("#second").isVisible(), "there is no second image");
  },
  async "a gallery of a multi-label model has no class missing where its card cannot be had for a moment"() {
    const page = await opened(multilabel);
    await page.route("**/model", (route) => route.fulfill({ status: 503, body: "" }));
    await allAnswered(page, several);
    expect((await page.locator("#gallery .broken").count()) === 2, "it is answered without knowing the classes");
    await page.unroute("**/model");
    await page.locator("#gallery button").nth(1).click();
    await noneWaits(page);
    expect((await page.locator("#gallery .broken").count()) === 1, "a click does not ask again");
  },
  async "a model that has learned of its answers tells in words how sure they are"() {
    const page = await opened(learned);
    await answerTo(page);
    await page.waitForFunction(() => document.getElementById("sure").textContent.includes("calibrated"));
    const strange = await text(page, "sure");
    for (const words of ["does not look like the images", "In 80 % of cases the right class is one of: ", "are calibrated"]) {
      expect(strange.includes(words), strange);
    }
    expect((await borders(page)).every((one) => one === null), "two classes have a border");
    expect((await page.locator("#classes button").count()) === 2 && !(await page.locator("#other").isVisible()), "more than two classes");
    await give(page, familiar);
    expect((await text(page, "sure")).includes("This looks like the images that the model was trained on."), await text(page, "sure"));
    await allAnswered(page, several);
    expect((await page.locator("#gallery .said").first().innerText()).includes("unlike the training images"), "the gallery does not say so");
    expect((await table(page))[1].includes('"false"'), (await table(page))[1]);
  },
  async "the card of a checked model has its figures and pictures"() {
    const page = await opened(learned);
    await page.locator("#card summary").click();
    await page.locator("#pictures table").waitFor();
    const facts = await text(page, "facts");
    for (const words of ["90.0% accuracy", "40 labeled images, 10 of which it was trained on", "off by 8.0% before, by 2.0% now", "false alarms", "right class 80.0% of the time"]) {
      expect(facts.replaceAll(/\s%/g, "%").includes(words), facts);
    }
    expect((await page.locator("#pictures td").allInnerTexts()).filter((one) => one.trim()).join() === "18,2,0,1,19,0", "the counts are others");
    expect((await page.locator("#pictures canvas").getAttribute("aria-label")).includes("62.0"), "the diagram has no words");
    await page.locator("#search").fill("BUS");
    expect((await text(page, "labels")).trim() === "0 bus", await text(page, "labels"));
  },
  async "axe finds nothing in any state, light or dark, wide or on a phone"() {
    for (const [name, options] of [["light", {}], ["dark", { colorScheme: "dark" }], ["phone", PHONE]]) {
      const page = await opened(multilabel, { bypassCSP: true, ...options });
      await accessible(page, `empty, ${name}`);
      await page.locator("#file").setInputFiles(broken);
      await page.locator("#alert").waitFor();
      await accessible(page, `error, ${name}`);
      await shot(page, `error-${name}`);
      await allAnswered(page, several);
      await page.locator("#compared").selectOption({ index: 1 });
      await accessible(page, `gallery and comparison, ${name}`);
      await shot(page, `gallery-${name}`);
      const another = await opened(learned, { bypassCSP: true, ...options });
      await give(another, photo);
      for (const id of ["card", "code"]) await another.locator(`#${id} summary`).click();
      await another.locator("#pictures table").waitFor();
      await accessible(another, `answer, card and code, ${name}`);
      await shot(another, `card-${name}`);
    }
  },
});
