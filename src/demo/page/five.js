const talk = new Perihelion("/slides", show.dataset);
talk.on("slides", (message) => {
  show.dataset.slide = message.json().slide;
});
talk.on("gap", () => location.reload());
