// What htmx does not do: events of the server, forms of the API, uploads, webcam, sliders, and verification.
"use strict";

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// ---- messages -----------------------------------------------------------------------------------------------

function toast(text, { bad = false, undo = null } = {}) {
  const box = document.createElement("div");
  box.className = bad ? "toast bad" : "toast";
  box.append(Object.assign(document.createElement("span"), { textContent: text }));
  if (undo)
    box.append(
      button("Undo", "", () => {
        box.remove();
        send("POST", undo).then(said, failed);
      }),
    );
  const shut = button("✕", "shut", () => box.remove());
  shut.setAttribute("aria-label", "Close this message");
  box.append(shut);
  one(".toasts").append(box);
  setTimeout(() => box.remove(), undo ? 20000 : bad ? 12000 : 6000);
}

function button(text, kind, act) {
  const made = Object.assign(document.createElement("button"), { textContent: text, className: kind, type: "button" });
  made.addEventListener("click", act);
  return made;
}

function said(answer) {
  if (answer && answer.done) toast(answer.done, { undo: answer.undo });
  look();
}

const failed = (error) => toast(error.message, { bad: true });

/** What a page should say although another one comes next. */
function later(answer) {
  if (answer && answer.done) sessionStorage.setItem("said", JSON.stringify(answer));
}

// ---- the API ------------------------------------------------------------------------------------------------

async function send(method, url, body) {
  const kind = body instanceof Blob ? "application/octet-stream" : "application/json";
  const options = { method, headers: body === undefined ? {} : { "Content-Type": kind } };
  if (body !== undefined) options.body = body instanceof Blob ? body : JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(url, options);
  } catch {
    throw new Error("The server does not answer; is reenact studio still running?");
  }
  const json = (answer.headers.get("content-type") || "").includes("json") ? await answer.json() : null;
  if (!answer.ok) throw new Error((json && json.error) || `The server says ${answer.status}.`);
  return json;
}

/** The fields of a form, as the API wants them. */
function fields(form) {
  const body = {};
  for (const [key, value] of new FormData(form)) if (value !== "") body[key] = value;
  for (const box of all("[data-uploader]", form)) body[box.dataset.uploader] = uploaded(form);
  if ("motion" in form.dataset) body.pose = motion();
  return body;
}

async function act(source) {
  const [method, url] = source.dataset.api.split(" ");
  const form = source.matches("form") ? source : null;
  const wrong = form && one(".wrong[role=alert]", form);
  const press = form ? one("button:not([type=button]):not([type=reset])", form) : source;
  if (wrong) wrong.textContent = "";
  press.disabled = true;
  try {
    const body = form ? fields(form) : source.dataset.body ? JSON.parse(source.dataset.body) : undefined;
    const answer = await send(method, url, body);
    if (source.dataset.then) {
      later(answer);
      location.href = source.dataset.then.replace("{name}", answer && answer.name);
      return;
    }
    said(answer);
  } catch (error) {
    if (wrong) wrong.textContent = error.message;
    else failed(error);
  }
  press.disabled = false;
}

document.addEventListener("submit", (event) => {
  if (!event.target.dataset.api) return;
  event.preventDefault();
  act(event.target);
});
document.addEventListener("click", (event) => {
  const source = event.target.closest("button[data-api]");
  if (source) act(source);
});
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-reload]");
  if (form) form.requestSubmit();
});

// ---- events of the server -----------------------------------------------------------------------------------

const told = {};
let last = null;

function look() {
  for (const kind of ["build", "project"]) document.body.dispatchEvent(new CustomEvent(`studio:${kind}`));
}

function listen() {
  const source = new EventSource("/api/events");
  for (const kind of ["build", "project"]) {
    source.addEventListener(kind, (event) => {
      const first = !(kind in told);
      if (told[kind] === event.data) return;
      told[kind] = event.data;
      if (kind === "build") announce(JSON.parse(event.data), first);
      if (!first) document.body.dispatchEvent(new CustomEvent(`studio:${kind}`));
    });
  }
}

/** How a build ended, once. */
function announce(state, first) {
  const now = state && state.status;
  if (!first && now !== last && last === "running") {
    if (now === "done") toast("Everything is built.");
    if (now === "failed") toast("The build failed; its page says why.", { bad: true });
    if (now === "stopped") toast("The build has stopped.");
  }
  last = now;
}

document.addEventListener("htmx:responseError", (event) => {
  let text = "The server refused that.";
  try {
    text = JSON.parse(event.detail.xhr.responseText).error;
  } catch {
    /* no JSON */
  }
  event.detail.target.replaceChildren(
    Object.assign(document.createElement("p"), { className: "wrong", textContent: text }),
  );
});

// ---- uploads ------------------------------------------------------------------------------------------------

const uploaded = (form) => all(".files li[data-id]", form).map((item) => item.dataset.id);

function drops(box, take) {
  for (const kind of ["dragenter", "dragover"]) {
    box.addEventListener(kind, (event) => {
      event.preventDefault();
      box.classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) box.addEventListener(kind, () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
  const input = one("input[type=file]", box);
  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = "";
  });
}

function upload(file, list) {
  const item = document.createElement("li");
  const bar = Object.assign(document.createElement("progress"), { max: 1, value: 0 });
  bar.setAttribute("aria-label", `Sending ${file.name}`);
  const name = Object.assign(document.createElement("span"), { className: "name", textContent: file.name });
  const remove = button("Remove", "quiet", () => {
    request.abort();
    if (item.dataset.id) send("DELETE", `/api/media/${item.dataset.id}`).catch(() => {});
    item.remove();
  });
  remove.setAttribute("aria-label", `Remove ${file.name}`);
  item.append(name, remove, bar);
  list.append(item);
  const request = new XMLHttpRequest();
  request.open("POST", "/api/media");
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.upload.addEventListener("progress", (event) => {
    bar.value = event.loaded / event.total;
  });
  request.addEventListener("loadend", () => {
    bar.remove();
    let answer = {};
    try {
      answer = JSON.parse(request.responseText);
    } catch {
      /* it was cut off */
    }
    if (request.status === 201) {
      item.dataset.id = answer.id;
      const length = answer.duration ? `, ${answer.duration.toFixed(1)} s` : "";
      name.append(
        Object.assign(document.createElement("small"), {
          textContent: ` ${answer.kind}, ${answer.width} × ${answer.height} px${length}`,
        }),
      );
    } else {
      item.append(
        Object.assign(document.createElement("p"), {
          className: "wrong",
          textContent: answer.error || "The file did not arrive; try again.",
        }),
      );
    }
  });
  request.send(file);
}

function uploader(box) {
  const list = one(".files", box.closest("fieldset"));
  const take = (files) => files.forEach((file) => upload(file, list));
  drops(box, take);
  camera(box, (blob, name) => upload(new File([blob], name), list));
}

// ---- webcam -------------------------------------------------------------------------------------------------

const SECONDS = 8;

function camera(box, take) {
  const panel = one(".camera", box),
    video = one("video", panel),
    words = one("[data-said]", panel);
  const hint = words.textContent;
  let stream = null;
  const close = () => {
    if (stream) stream.getTracks().forEach((track) => track.stop());
    stream = null;
    panel.hidden = true;
    words.textContent = hint;
  };
  one("[data-camera]", box).addEventListener("click", async () => {
    try {
      stream = await openCamera(video);
      panel.hidden = false;
    } catch (error) {
      failed(error);
    }
  });
  one("[data-close]", box).addEventListener("click", close);
  one("[data-snap]", box)?.addEventListener("click", async () => {
    take(await picture(video, 0.95), `webcam ${new Date().toLocaleTimeString()}.jpg`);
  });
  one("[data-record]", box).addEventListener("click", async (event) => {
    event.target.disabled = true;
    take(
      await record(stream, (left) => {
        words.textContent = `Recording … ${left} s`;
      }),
      "webcam.webm",
    );
    event.target.disabled = false;
    close();
  });
}

async function openCamera(video) {
  if (!navigator.mediaDevices) throw new Error("This browser gives no webcam to this address; open it as 127.0.0.1.");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 } }, audio: false });
  } catch {
    throw new Error("The webcam cannot be opened; allow it in the browser, and close what else uses it.");
  }
  video.srcObject = stream;
  await video.play();
  return stream;
}

function picture(video, quality) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
}

function record(stream, tell) {
  return new Promise((done) => {
    const parts = [],
      recorder = new MediaRecorder(stream, { videoBitsPerSecond: 4000000 });
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    recorder.addEventListener("stop", () => {
      clearInterval(clock);
      done(new Blob(parts));
    });
    let left = SECONDS;
    tell(left);
    const clock = setInterval(() => {
      left -= 1;
      if (left > 0) tell(left);
      else if (recorder.state !== "inactive") recorder.stop();
    }, 1000);
    recorder.start();
  });
}

// ---- sliders ------------------------------------------------------------------------------------------------

/** The motion that the controls ask for, as `render.pose` has it. */
function motion() {
  const pose = {};
  for (const input of all("[data-pose]")) {
    const value = { checkbox: input.checked, range: Number(input.value) }[input.type] ?? input.value;
    const [key, part] = input.dataset.pose.split(".");
    if (part === undefined) pose[key] = value;
    else if (key !== "controls" || value) (pose[key] ||= {})[part] = value;
  }
  for (const input of all("[data-pose-list]")) {
    const list = (pose[input.dataset.poseList] ||= []);
    if (input.checked) list.push(input.value);
  }
  if (one("[data-pose^='controls.']")) pose.controls ||= {};
  return pose;
}

/** What each slider stands at, in words. */
function tell(box) {
  for (const input of all("input[type=range]", box)) {
    const { percent, unit } = input.dataset;
    const number = Number(input.value);
    const text =
      percent !== undefined ? `${Math.round(100 * number)} %` : unit ? `${number}${unit}` : number.toFixed(2);
    one("output", input.parentElement).textContent = text;
    input.setAttribute("aria-valuetext", text);
  }
}

function stills(box) {
  const wrong = one(".wrong", box),
    place = one("[data-place]", box),
    time = one("[data-time]", box);
  const { identity, driver } = box.dataset;
  const ours = one("[data-picture]", box),
    theirs = one("[data-driver-picture]", box);
  let busy = false,
    again = false,
    live = null;
  const ask = async () => {
    if (live) return;
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    const began = performance.now();
    const slow = setTimeout(() => {
      time.textContent = "…";
    }, 500);
    try {
      const answer = await send("POST", "/api/edits", { identity, driver, place: Number(place.value), pose: motion() });
      ours.src = `data:image/jpeg;base64,${answer.picture}`;
      theirs.src = `data:image/jpeg;base64,${answer.driver}`;
      time.textContent = `${Math.round(performance.now() - began)} ms`;
      wrong.textContent = "";
    } catch (error) {
      wrong.textContent = error.message;
    }
    clearTimeout(slow);
    busy = false;
    if (again) {
      again = false;
      ask();
    }
  };
  box.addEventListener("input", () => {
    tell(box);
    ask();
  });
  box.addEventListener("reset", () =>
    setTimeout(() => {
      tell(box);
      ask();
    }),
  );
  box.addEventListener("htmx:afterSettle", () => {
    tell(box);
    ask();
  });
  document.body.addEventListener("studio:project", () => {
    if (wrong.textContent) ask();
  });
  // Motion is scaled about a driver's mean pose, which nobody knows of a webcam.
  const allowStrength = () => {
    for (const input of all("[data-pose=intensity]", box)) input.disabled = Boolean(live);
  };
  box.addEventListener("htmx:afterSettle", allowStrength);
  one("[data-live]", box).addEventListener("click", async (event) => {
    if (live) {
      live();
      live = null;
      event.target.textContent = "Drive with the webcam";
      allowStrength();
      ask();
      return;
    }
    try {
      live = await webcam(box, identity, ours, theirs);
      event.target.textContent = "Stop the webcam";
      allowStrength();
    } catch (error) {
      failed(error);
    }
  });
  tell(box);
}

/** A webcam drives the avatar, one picture after the other; returns what ends it. */
async function webcam(box, identity, ours, theirs) {
  const video = one("[data-webcam]", box),
    words = one("[data-latency]", box);
  const stream = await openCamera(video);
  const session = [...crypto.getRandomValues(new Uint8Array(8))].map((n) => n.toString(16).padStart(2, "0")).join("");
  const times = [];
  let on = true;
  const step = async () => {
    const began = performance.now();
    const image = await picture(video, 0.85);
    const url = `/api/live/${identity}?session=${session}&pose=${encodeURIComponent(JSON.stringify(motion()))}`;
    const answer = await fetch(url, { method: "POST", headers: { "Content-Type": "image/jpeg" }, body: image });
    if (!on) return;
    if (answer.status === 204) {
      words.textContent = "No face is seen yet.";
      return;
    }
    if (!answer.ok) throw new Error((await answer.json()).error);
    await put(ours, await answer.blob());
    await put(theirs, image);
    times.push([performance.now() - began, performance.now()]);
    if (times.length > 60) times.shift();
    const late = times.map(([taken]) => taken).sort((a, b) => a - b);
    const rate = (1000 * (times.length - 1)) / Math.max(1, times.at(-1)[1] - times[0][1]);
    words.textContent = `${Math.round(late[late.length >> 1])} ms from picture to picture, ${rate.toFixed(1)} frames/s`;
  };
  const loop = async () => {
    while (on) await step();
  };
  const end = () => {
    on = false;
    stream.getTracks().forEach((track) => track.stop());
  };
  loop().catch((error) => {
    end();
    failed(error);
  });
  return end;
}

/** Show a picture that was sent, and let go of the one before. */
async function put(image, blob) {
  const before = image.src;
  image.src = URL.createObjectURL(blob);
  await image.decode().catch(() => {});
  if (before.startsWith("blob:")) URL.revokeObjectURL(before);
}

// ---- verification -------------------------------------------------------------------------------------------

function verifier(box) {
  const out = one("[data-verdict]"),
    bar = one("progress", box);
  drops(box, async ([file]) => {
    if (!file) return;
    out.replaceChildren();
    bar.hidden = false;
    try {
      out.append(verdict(file.name, await send("POST", "/api/verify", file)));
    } catch (error) {
      out.append(
        Object.assign(document.createElement("p"), {
          className: "wrong",
          textContent: `${file.name}: ${error.message}`,
        }),
      );
    }
    bar.hidden = true;
  });
}

function verdict(name, answer) {
  const card = Object.assign(document.createElement("section"), { className: `card verdict ${answer.verdict}` });
  card.append(Object.assign(document.createElement("h2"), { textContent: name }));
  card.append(
    Object.assign(document.createElement("p"), {
      textContent: answer.title[0].toUpperCase() + answer.title.slice(1) + ".",
    }),
  );
  const list = document.createElement("dl");
  for (const [key, value] of answer.rows) {
    list.append(Object.assign(document.createElement("dt"), { textContent: key }));
    list.append(Object.assign(document.createElement("dd"), { textContent: value }));
  }
  card.append(list);
  return card;
}

// ---- all of it ----------------------------------------------------------------------------------------------

document.addEventListener("DOMContentLoaded", () => {
  const words = sessionStorage.getItem("said");
  sessionStorage.removeItem("said");
  if (words) said(JSON.parse(words));
  all("[data-uploader]").forEach(uploader);
  all("[data-stills]").forEach(stills);
  all("[data-verify]").forEach(verifier);
  if (one("nav")) listen();
});
