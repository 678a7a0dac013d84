// Presses "Try it out" and "Execute" for every POST on the page at the given address; prints address and status of each.
import { chromium } from "playwright-core";

const [url, executablePath, photo] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const page = await browser.newPage();
page.on("console", (message) => {
  if (message.type() !== "error") return;
  console.error(message.text()); // such as what the page's policy has stopped
  process.exitCode = 1;
});
await page.goto(url);
for (const path of ["/image_recognition", "/image_recognition_file", "/image_recognition_batch"]) {
  const operation = page.locator(`.opblock:has([data-path="${path}"])`);
  await operation.locator(".opblock-summary").click();
  await operation.getByRole("button", { name: "Try it out" }).click();
  if (path.endsWith("file")) await operation.locator("input[type=file]").setInputFiles(photo);
  const answered = page.waitForResponse((response) => response.request().method() === "POST");
  await operation.getByRole("button", { name: "Execute" }).click();
  const response = await answered;
  console.log(new URL(response.url()).pathname, response.status(), (await response.json()).success);
  await operation.locator(".opblock-summary").first().click();
}
await browser.close();
