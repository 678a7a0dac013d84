// Questions to the service, and what it says where it cannot answer.
const fields = (options) => Object.entries(options).filter(([, value]) => value !== null);
const authorization = () => (byId("key").value ? { Authorization: `Bearer ${byId("key").value}` } : {});

// Return the answer for `file`, or {complaint, retry}: what is wrong in words, and whether asking again may help.
async function ask(file, options, signal) {
  const body = new FormData();
  body.set("img", file);
  for (const [name, value] of fields(options)) body.set(name, value);
  const call = { method: "POST", body, headers: authorization(), signal };
  const response = await fetch("image_recognition_file", call).catch(() => null);
  const answer = await response?.json().catch(() => null);
  if (signal?.aborted) return null;
  if (response?.status === 401) unlock();
  if (answer?.success) return answer;
  if (answer?.error) {
    const retry = [401, 429].includes(response.status) || response.status >= 500;
    return { complaint: answer.error.message, code: answer.error.code, retry };
  }
  if (response) return { complaint: `The service gave no readable answer (status ${response.status}).`, retry: true };
  return { complaint: "The service cannot be reached: check the connection and that the file is still there.", retry: true };
}

function unlock() {
  byId("lock").hidden = false;
  byId("key").focus();
}

function complain({ complaint, retry }) {
  byId("alert").hidden = false;
  byId("again").hidden = !retry;
  byId("complaint").textContent = complaint;
  if (byId("answer").inert) byId("result").textContent = "No answer";
}
