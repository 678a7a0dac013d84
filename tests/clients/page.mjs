// The page with the default network, used as people do.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { accessible, allAnswered, answered, browser, expect, forgive, give, opened, pixels, posts, run, shot, table, text } from "./browser.mjs";

const [url, photo, broken, python] = process.argv.slice(4);

await run({
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
    const page = await opened(url);
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
    expect((await text(page, "shown")).startsWith("Heatmap: the pixels that support"), await text(page, "shown"));
    expect(await page.locator("#legend").isVisible(), "there is no legend");
  },
  async "the photo without heat is shown while a key or the button is held"() {
    const page = await opened(url);
    await give(page, photo);
    const heat = await pixels(page);
    await page.keyboard.down("h");
    const plain = await pixels(page);
    await page.keyboard.up("h");
    expect(plain !== heat && (await pixels(page)) === heat, "the key does not show the photo");
    await page.keyboard.down("H");
    expect((await pixels(page)) === plain, "the capital letter, as on the button, does not show the photo");
    await page.keyboard.up("H");
    await page.keyboard.down("Control");
    await page.keyboard.down("h");
    expect((await pixels(page)) === heat, "a shortcut of the browser shows the photo, and may keep it");
    await page.keyboard.up("h");
    await page.keyboard.up("Control");
    await page.keyboard.down("h");
    await page.evaluate(() => dispatchEvent(new Event("blur")));
    expect((await pixels(page)) === heat, "the heat does not come back if the key is released in another window");
    await page.keyboard.up("h");
    await page.locator("#plain").hover();
    await page.mouse.down();
    expect((await pixels(page)) === plain, "the button does not show the photo");
    await page.mouse.up();
    expect((await pixels(page)) === heat, "the heat does not come back");
  },
  async "two classes are compared side by side, and one against the other"() {
    const page = await opened(url);
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
    const page = await opened(url);
    await give(page, photo);
    const first = await pixels(page);
    await answered(page, () => page.locator("#method").selectOption("layercam"));
    expect((await pixels(page)) !== first, "another method gives the same heat");
  },
  async "several photos become a gallery, and a table as CSV"() {
    const page = await opened(url);
    const files = Array.from({ length: 10 }, (_, index) => ({
      name: index === 1 ? "=2+3.jpg" : `photo ${index}.jpg`,
      mimeType: "image/jpeg",
      buffer: readFileSync(index % 5 === 3 ? broken : photo),
    }));
    await allAnswered(page, files);
    expect((await page.locator("#gallery li").count()) === 10, "not every photo is there");
    expect((await page.locator("#gallery .broken").count()) === 2, "the broken ones are not told");
    await shot(page, "gallery");
    const rows = await table(page);
    expect(rows.length === 11 && rows[0] === '"file","result","percent","familiar","error","message"', rows[0]);
    expect(rows[2].startsWith(`"'=2+3.jpg","`), `a formula stays one: ${rows[2]}`);
    expect(rows[4].includes("broken_image") || rows[4].includes("unsupported_image"), rows[4]);
    await answered(page, () => page.locator("#gallery li").nth(2).locator("button").click());
  },
  async "an error is told in words, and the next photo is answered"() {
    const page = await opened(url);
    await page.locator("#file").setInputFiles(broken);
    await page.locator("#alert").waitFor();
    expect((await text(page, "complaint")).length > 20, "there are no words");
    expect(!(await page.locator("#again").isVisible()), "it offers to ask again for what stays broken");
    await give(page, photo);
    expect(!(await page.locator("#alert").isVisible()), "the complaint stays");
  },
  async "a service that cannot be reached is told"() {
    const page = await opened(url);
    await page.context().setOffline(true);
    await page.locator("#file").setInputFiles(photo);
    await page.locator("#again").waitFor();
    expect((await text(page, "trouble")).includes("cannot be reached"), await text(page, "alert"));
    await page.context().setOffline(false);
    await answered(page, () => page.locator("#again").click());
    forgive("ERR_INTERNET_DISCONNECTED");
  },
  async "the model has a card, whose classes can be searched"() {
    const page = await opened(url);
    await page.locator("#card summary").click();
    await page.locator("#labels li").first().waitFor();
    const all = await page.locator("#labels li").count();
    await page.locator("#search").fill("cat");
    const found = await page.locator("#labels li").count();
    expect(all > found && found > 0, `${found} of ${all}`);
    await give(page, photo);
    await page.waitForTimeout(200);
    expect((await page.locator("#labels li").count()) === found, "an answer undoes the search");
    expect((await text(page, "facts")).includes("Network"), await text(page, "facts"));
  },
  async "the request is there as code, which gives the same answer"() {
    const page = await opened(url);
    const cwd = mkdtempSync(join(tmpdir(), "code"));
    const name = `it's "a"; cat, $HOME \\ é.jpg`;
    copyFileSync(photo, join(cwd, name));
    await give(page, join(cwd, name));
    await page.locator("#compared").selectOption({ index: 1 });
    const response = page.waitForResponse((one) => one.request().method() === "POST");
    await answered(page, () => page.locator("#versus").check());
    const answer = await (await response).json();
    await page.locator("#code summary").click();
    const copied = async (language) => {
      await page.locator("#language").selectOption(language);
      return text(page, "snippet");
    };
    const code = { curl: await copied("curl"), Python: await copied("Python"), JavaScript: await copied("JavaScript") };
    const called = (program, ...given) => JSON.parse(execFileSync(program, given, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
    const file = new File([readFileSync(photo)], name);
    const answers = {
      curl: called("bash", "-c", code.curl),
      Python: called(python, "-c", `${code.Python}\nimport json\nprint(json.dumps(answer))`),
      JavaScript: await new (async () => {}).constructor("file", `${code.JavaScript}\nreturn answer;`)(file),
    };
    for (const [language, one] of Object.entries(answers)) {
      expect(JSON.stringify(one) === JSON.stringify(answer), `${language}: ${code[language]} gives ${JSON.stringify(one).slice(0, 300)}`);
    }
    expect(answer.explained.versus !== null, "it is not the last request");
  },
  async "code is copied, on pages without TLS too"() {
    for (const [secure, address] of [[true, url], [false, url.replace("127.0.0.1", "page.test")]]) {
      const page = await opened(address, secure ? { permissions: ["clipboard-write"] } : {});
      expect((await page.evaluate(() => isSecureContext)) === secure, "it is another context");
      await give(page, photo);
      await page.locator("#code summary").click();
      await page.locator("#copy").click();
      await page.locator("#copy", { hasText: "Copied" }).waitFor();
      const pasted = await page.locator("#search").evaluate((field) => {
        field.closest("details").open = true;
        field.parentElement.parentElement.hidden = false;
        field.focus();
      }).then(() => page.keyboard.press("Control+V")).then(() => page.locator("#search").inputValue());
      expect(pasted.startsWith("curl"), `it has copied ${pasted}`);
    }
    forgive("Cross-Origin-Opener-Policy"); // which has no meaning without TLS
  },
  async "the box that the network saw is outlined, and nothing beyond it is touched"() {
    const page = await opened(url);
    const response = page.waitForResponse((one) => one.request().method() === "POST");
    await give(page, photo);
    const { image } = await (await response).json();
    const values = () => page.locator("#first canvas").evaluate((canvas, [{ width, box }, ...places]) => places.map((place) => {
      const x = Math.round((box[0] * canvas.width) / width) + place;
      const { data } = canvas.getContext("2d").getImageData(x, Math.round(canvas.height / 2), 1, 1);
      return data[0] + data[1] + data[2];
    }), [image, -3, 0, 3]);
    const drawn = await values();
    await page.keyboard.down("h");
    const plain = await values();
    expect(drawn[0] === plain[0], "the image beyond the box is changed");
    expect(drawn[2] !== plain[2], "there is no heat in the box");
    expect(drawn[1] > Math.max(plain[1], drawn[2]), `there is no outline: ${drawn}, ${plain}`);
  },
  async "what is transparent is white, as the network sees it, in a dark page too"() {
    const page = await opened(url, { colorScheme: "dark" });
    const buffer = Buffer.from(await page.evaluate(() => document.createElement("canvas").toDataURL().split(",")[1]), "base64");
    await answered(page, () => page.locator("#file").setInputFiles({ name: "x.png", mimeType: "image/png", buffer }));
    await page.keyboard.down("h");
    const corner = await page.locator("#first canvas").evaluate((canvas) => String(canvas.getContext("2d").getImageData(0, 0, 1, 1).data));
    expect(corner === "255,255,255,255", corner);
  },
  async "an image that the browser turns in another way is drawn by the service"() {
    const page = await opened(url);
    await page.evaluate(() => {
      const decode = createImageBitmap;
      globalThis.createImageBitmap = async (file) => {
        const bitmap = await decode(file);
        if (!(file instanceof File)) return bitmap; // an image that the service has drawn
        const canvas = new OffscreenCanvas(bitmap.height, bitmap.width);
        canvas.getContext("2d").rotate(0);
        return canvas.transferToImageBitmap();
      };
    });
    const response = page.waitForResponse((one) => one.request().method() === "POST");
    await give(page, photo);
    const { image } = await (await response).json();
    const shown = await page.locator("#first canvas").evaluate(({ width, height }) => ({ width, height }));
    expect(shown.width === image.width && shown.height === image.height, `${JSON.stringify(shown)} of ${JSON.stringify(image)}`);
    expect((await text(page, "shown")).startsWith("Heatmap: "), await text(page, "shown"));
    expect(!(await page.locator("#plain").isVisible()), "it offers an image without heat, which it does not have");
  },
  async "a sample is answered"() {
    const page = await opened(url);
    await answered(page, () => page.locator("[data-sample=cat]").click());
    expect((await text(page, "result")).includes("cat"), await text(page, "result"));
  },
  async "the file that was chosen last can be chosen again"() {
    const page = await opened(url);
    await give(page, photo);
    await answered(page, () => page.locator("[data-sample=cat]").click());
    const chooser = page.waitForEvent("filechooser");
    await page.locator("#file").click();
    await chooser;
    expect((await page.locator("#file").inputValue()) === "", "the browser would not tell the page of it");
  },
  async "a sample that comes late does not replace an image that was chosen meanwhile"() {
    const page = await opened(url);
    let release = null;
    const held = new Promise((resume) => { release = resume; });
    await page.route("**/samples/rocket.jpg", async (route) => {
      await held;
      await route.continue();
    });
    const late = page.waitForResponse((one) => one.url().endsWith("rocket.jpg"));
    await page.locator("[data-sample=rocket]").click();
    await give(page, photo);
    const count = await posts(page, async () => {
      release();
      await late;
    });
    expect(count === 0, "the sample is asked about");
  },
  async "a pasted photo is answered"() {
    const page = await opened(url);
    const bytes = readFileSync(photo).toString("base64");
    await answered(page, () => page.evaluate((encoded) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0))], "pasted.jpg", { type: "image/jpeg" }));
      document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
    }, bytes));
  },
  async "a dropped photo is answered, and a folder is told to be none"() {
    const page = await opened(url);
    const drop = (name, folder) => page.evaluate(([encoded, called, isDirectory]) => {
      const file = new File([Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0))], called);
      const dataTransfer = { files: [file], items: [{ webkitGetAsEntry: () => ({ isDirectory }) }] };
      document.dispatchEvent(Object.assign(new Event("drop"), { dataTransfer }));
    }, [readFileSync(photo).toString("base64"), name, folder]);
    const count = await posts(page, () => drop("photos", true));
    expect(count === 0 && (await text(page, "alert")).includes("folder"), await text(page, "alert"));
    await answered(page, () => drop("x.jpg", false));
    expect(!(await page.locator("#alert").isVisible()), "the complaint stays");
  },
  async "the keyboard reaches everything"() {
    const page = await opened(url);
    await give(page, photo);
    const reached = new Set();
    for (let press = 0; press < 60; press += 1) {
      await page.keyboard.press("Tab");
      reached.add(await page.evaluate(() => document.activeElement.id || document.activeElement.className || document.activeElement.tagName));
    }
    for (const one of ["file", "row", "compared", "method", "colormap", "alpha", "plain"]) expect(reached.has(one), `${one} is not reached, but ${[...reached]}`);
    await page.locator("#classes button").nth(1).focus();
    await page.keyboard.press("Enter");
    expect((await page.locator("#classes button").nth(1).getAttribute("aria-pressed")) === "true", "Enter does not choose");
  },
  async "a phone has room for all of it"() {
    const page = await opened(url, { viewport: { width: 375, height: 740 }, hasTouch: true, isMobile: true });
    await give(page, photo);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    expect(wide <= 375, `it is ${wide} pixels wide`);
    expect(await page.locator("#camera").isVisible(), "it cannot take a photo");
    await shot(page, "phone");
    await answered(page, () => page.locator("#camera input").setInputFiles(photo));
    await page.locator("#compared").selectOption({ index: 1 });
    await shot(page, "phone-compare", {});
  },
  async "axe finds nothing, in light and in dark"() {
    for (const colorScheme of ["light", "dark"]) {
      const page = await opened(url, { colorScheme, bypassCSP: true });
      await give(page, photo);
      for (const id of ["card", "code"]) await page.locator(`#${id} summary`).click();
      await page.locator("#labels li").first().waitFor();
      await accessible(page, colorScheme);
      if (colorScheme === "dark") await shot(page, "dark");
    }
  },
});
