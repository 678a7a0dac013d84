// The page where there is no answer: on a service that fails as the image's name says, one that needs a key, and none.
import { readFileSync } from "node:fs";
import { allAnswered, answered, expect, forgive, noneWaits, opened, posts, run, shot, table, text } from "./browser.mjs";

const [failing, keyed, key, photo, ...codes] = process.argv.slice(4);
const AGAIN = ["unauthorized", "busy", "internal", "not_ready", "timeout"];

const image = (name) => ({ name, mimeType: "image/jpeg", buffer: readFileSync(photo) });

async function failed(page, name = "x.jpg") {
  await page.locator("#file").setInputFiles(image(name));
  await page.locator("#alert").waitFor();
  return `${await text(page, "trouble")} ${await text(page, "complaint")}`;
}

// Let something between page and service give the answers.
const between = (page, answer) => page.route("**/image_recognition_file", (route) => route.fulfill(answer));

await run({
  async "every code of the contract has words of its own on the page"() {
    const heard = new Map();
    const page = await opened(failing);
    for (const code of codes) {
      await page.goto(failing);
      const words = await failed(page, `${code}.jpg`);
      const trouble = await text(page, "trouble");
      expect(trouble.length > 15 && !trouble.includes("refused"), `${code}: ${words}`);
      expect(!/[{}<>]|null|undefined|_|\.\/docs|\.\.$/.test(words), `${code}: ${words}`);
      expect((await text(page, "result")) === "No answer", `${code}: there is an answer`);
      expect((await page.locator("#again").isVisible()) === AGAIN.includes(code), `${code}: ask again?`);
      expect((await page.locator("#lock").isVisible()) === (code === "unauthorized"), `${code}: is a key needed?`);
      heard.set(trouble, [...(heard.get(trouble) ?? []), code]);
    }
    const same = [...heard.values()].filter((some) => some.length > 1);
    const meant = [["invalid_request", "unsupported_media_type"], ["method_not_allowed", "not_found"]];
    expect(JSON.stringify(same.map((some) => some.toSorted()).toSorted()) === JSON.stringify(meant), JSON.stringify(same));
  },
  async "a busy service is asked again after the pause that it asks for, and not for ever"() {
    const page = await opened(failing);
    const count = await posts(page, () => failed(page, "busy.jpg"));
    expect(count === 3, `it is asked ${count} times`);
  },
  async "a long pause is told, not waited for"() {
    const page = await opened(failing);
    const body = JSON.stringify({ success: false, error: { code: "busy", message: "x" } });
    await between(page, { status: 429, body, headers: { "Retry-After": "90" } });
    expect((await failed(page)) === "The service is busy. Try again in 90 seconds.", await text(page, "alert"));
  },
  async "an answer of something between page and service is told by its status"() {
    const page = await opened(failing);
    await between(page, { status: 504, body: "<html>Gateway Time-out</html>" });
    expect((await failed(page)) === "The page cannot read the answer. The status is 504.", await text(page, "alert"));
    expect(await page.locator("#again").isVisible(), "it cannot be asked again");
  },
  async "an answer of which only a part comes can be asked for again"() {
    const page = await opened(failing);
    await between(page, { status: 200, body: '{"success": true, "result": "c' });
    expect((await failed(page)).startsWith("The page cannot read the answer"), await text(page, "alert"));
    expect(await page.locator("#again").isVisible(), "it cannot be asked again");
  },
  async "a table that is downloaded early says which images have no answer yet"() {
    const page = await opened(failing);
    await page.route("**/model", () => {});
    await page.locator("#file").setInputFiles([image("a.jpg"), image("b.jpg")]);
    const rows = await table(page);
    expect(rows.length === 3 && rows[1] === '"a.jpg","","","","","No answer yet. Download the table again later."', rows[1]);
  },
  async "an answer that never comes is not waited for"() {
    const page = await opened(failing);
    await page.clock.install();
    await page.route("**/image_recognition_file", () => {});
    await page.locator("#file").setInputFiles(image("x.jpg"));
    await page.waitForFunction(() => document.getElementById("stage").ariaBusy === "true");
    await page.clock.fastForward(119_000);
    expect(!(await page.locator("#alert").isVisible()), "it gives up early");
    await page.clock.fastForward(2_000);
    await page.locator("#alert").waitFor();
    expect((await text(page, "trouble")) === "The answer took too long.", await text(page, "alert"));
  },
  async "a key is asked for where one is needed, a wrong one is told, and the right one answers every image"() {
    const page = await opened(keyed);
    expect(!(await page.locator("#lock").isVisible()), "it asks for a key before it needs one");
    await page.locator("#card summary").click();
    await page.locator("#lock").waitFor();
    expect((await text(page, "unknown")).includes("needs an API key"), await text(page, "unknown"));
    await page.locator("#file").setInputFiles([image("a.jpg"), image("b.jpg")]);
    await page.locator("#alert").waitFor();
    expect((await text(page, "trouble")) === "The service needs an API key.", await text(page, "alert"));
    await page.locator("#key").fill("wrong");
    await page.locator("#key").press("Enter");
    await page.waitForFunction(() => document.getElementById("trouble").textContent.includes("wrong"));
    await shot(page, "key");
    await page.locator("#key").fill(key);
    await answered(page, () => page.locator("#key").press("Enter"));
    expect(!(await page.locator("#alert").isVisible()), "the complaint stays");
    await noneWaits(page);
    expect((await page.locator("#gallery .broken").count()) === 0, "an image has no answer");
    expect((await text(page, "facts")).includes("Network"), "the card is empty");
    await page.locator("#code summary").click();
    expect((await text(page, "snippet")).includes("Authorization: Bearer") && !(await text(page, "snippet")).includes(key), await text(page, "snippet"));
  },
  async "a key that no header can carry is told to be wrong"() {
    const page = await opened(keyed);
    await page.locator("#file").setInputFiles(image("a.jpg"));
    await page.locator("#lock").waitFor();
    await page.locator("#key").fill(`${key}\u2026`);
    await page.locator("#key").press("Enter");
    await page.waitForFunction(() => document.getElementById("trouble").textContent.includes("wrong"));
  },
  async "a chosen class that the next answer does not list gives way to the likeliest"() {
    const page = await opened(failing);
    const listing = (name, index) => {
      const image = { width: 451, height: 300, box: [0, 0, 451, 300] };
      const detail = [{ class: name, index, prob: 100, heatmap: [[1]] }];
      return { status: 200, body: JSON.stringify({ success: true, result: name, detail, other: 0, image }) };
    };
    await between(page, listing("cat", 3));
    await answered(page, () => page.locator("#file").setInputFiles(image("x.jpg")));
    await between(page, listing("dog", 7));
    await answered(page, () => page.locator("#method").selectOption("layercam"));
    expect((await text(page, "shown")) === "Heatmap: the pixels that support dog.", await text(page, "shown"));
  },
  async "an answer about the image before is not shown"() {
    const page = await opened(keyed);
    await page.locator("#card summary").click();
    await page.locator("#key").fill(key);
    await page.locator("#key").press("Enter");
    await page.locator("#facts div").first().waitFor();
    await page.evaluate(() => {
      const [decode, late] = [createImageBitmap, (file) => file.name === "late.jpg"];
      globalThis.createImageBitmap = async (file) => {
        if (late(file)) await new Promise((resume) => setTimeout(resume, 1000));
        return decode(file);
      };
    });
    await page.route("**/image_recognition_file", async (route) => {
      await new Promise((resume) => setTimeout(resume, 500)); // else the answer may come before anybody looks
      await route.continue().catch(() => {});
    });
    await page.locator("#file").setInputFiles(image("first.jpg"));
    await page.waitForFunction(() => document.getElementById("stage").ariaBusy === "true");
    await page.locator("#file").setInputFiles(image("late.jpg"));
    await page.waitForTimeout(700);
    expect((await text(page, "result")) === "Looking…", `it says ${await text(page, "result")}`);
    forgive("ERR_ABORTED");
  },
});
