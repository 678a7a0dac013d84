// Questions to the service, and what it says where it cannot answer.
const LATE_MS = 120_000; // the service itself gives up earlier: what takes longer hangs on the way
const TRIES = 3; // of a question to a busy service that asks for a short pause
const PAUSE_S = 5;

// What is wrong, for each code of the contract, and what to do where the words of the service are for programmers.
const TROUBLE = {
  invalid_request: ["The service did not understand the request"],
  invalid_base64: ["The image did not arrive as it was sent"],
  unknown_class: ["The model does not know this class"],
  cors_refused: ["The service does not accept requests from this page", "Open the page at the address of the service."],
  unauthorized: ["The service needs an API key", "Enter it in the field API key, and press Enter."],
  not_found: ["The service is not at this address", "Reload the page."],
  method_not_allowed: ["The service is not at this address", "Reload the page."],
  body_too_large: ["The file is too large"],
  image_too_large: ["The image has too many pixels"],
  unsupported_image: ["The service cannot read files of this kind"],
  unsupported_media_type: ["The service did not understand the request", "Reload the page."],
  broken_image: ["The file is damaged"],
  busy: ["The service is busy"],
  request_header_fields_too_large: ["The browser sent too much besides the image", "Delete the cookies of this address."],
  internal: ["Something went wrong in the service"],
  not_ready: ["The service is still starting"],
  timeout: ["The answer took too long"],
};

const fields = (options) => Object.entries(options).filter(([, value]) => value !== null && value !== undefined);
// Keys are printable ASCII: with other characters, fetch would fail as if there were no connection.
const authorization = () => (byId("key").value ? { Authorization: `Bearer ${byId("key").value.replace(/[^ -~]/g, "?")}` } : {});
const pause = (seconds) => new Promise((resume) => setTimeout(resume, 1000 * seconds));

// Return the answer for `file`, a refusal(), or null if nobody waits for it any more.
async function ask(file, options, signal) {
  const body = new FormData();
  body.set("img", file);
  for (const [name, value] of fields(options)) body.set(name, value);
  for (let left = TRIES - 1; ; left -= 1) {
    const { response, answer, late } = await call("image_recognition_file", { method: "POST", body }, signal);
    const seconds = Number(response?.headers.get("Retry-After")) || 1;
    const again = response?.status === 429 && left > 0 && seconds <= PAUSE_S;
    if (again) await pause(seconds);
    if (signal?.aborted) return null;
    if (!again) return answer?.success ? answer : refusal(response, answer, late);
  }
}

async function call(address, init = {}, signal = undefined) {
  const limit = new AbortController();
  let late = false;
  const timer = setTimeout(() => limit.abort((late = true)), LATE_MS);
  signal?.addEventListener("abort", () => limit.abort());
  const response = await fetch(address, { ...init, headers: authorization(), signal: limit.signal }).catch(() => null);
  const answer = await response?.json().catch(() => null);
  clearTimeout(timer);
  return { response, answer, late };
}

// What is wrong, in words: {trouble, complaint, code, retry}; retry: whether asking again may help.
function refusal(response, answer, late) {
  if (late) return { trouble: TROUBLE.timeout[0], complaint: `Nothing came back in ${LATE_MS / 60_000} minutes.`, retry: true };
  if (!response) return { trouble: "The service cannot be reached", complaint: "Check the connection, and that the file is still there.", retry: true };
  const { status, headers } = response;
  const retry = response.ok || [401, 408, 429].includes(status) || status >= 500; // ok: the connection was lost on the way back
  if (!answer?.error) return { trouble: "The page cannot read the answer", complaint: `The status is ${status}.`, retry };
  const { code, message } = answer.error;
  const wrong = status === 401 && byId("key").value !== "";
  const [trouble, advice] = TROUBLE[code] ?? ["The service refused the request"];
  const seconds = status === 429 && Number(headers.get("Retry-After"));
  if (status === 401) unlock();
  return {
    trouble: wrong ? "The API key is wrong" : trouble,
    complaint: seconds > PAUSE_S ? `Try again in ${seconds} seconds.` : (advice ?? message),
    code,
    retry,
  };
}

function unlock() {
  byId("lock").hidden = false;
  byId("key").focus();
}

function complain({ trouble, complaint, retry }) {
  byId("alert").hidden = false;
  byId("again").hidden = !retry;
  byId("trouble").textContent = `${trouble}.`;
  byId("complaint").textContent = complaint;
  if (byId("answer").inert) byId("result").textContent = "No answer";
}
