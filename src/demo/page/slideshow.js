// What the slideshow's page says of its own connection; the slideshow itself is in five.js.

const WORDS = { connecting: "connecting…", open: "live", waiting: "coming back…", closed: "closed" };

function tell() {
  const state = document.getElementById("status");
  state.dataset.state = talk.state === "open" ? "live" : talk.state;
  document.getElementById("status-text").textContent = WORDS[talk.state];
  document.getElementById("transport").textContent = talk.transport ?? "–";
  document.getElementById("role").textContent = talk.leads ? "has the connection" : "listens to the tab that has it";
  document.getElementById("position").textContent = talk.position ?? "–";
}

for (const event of ["state", "open", "*"]) talk.on(event, () => setTimeout(tell));
setInterval(tell, 1000);
document.getElementById("here").textContent = location.origin;
