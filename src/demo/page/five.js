const talk = new Perihelion("/slideshow/events", show.dataset);
talk.on("slides", (message) => {
  show.dataset.slide = message.json().slide;
});
talk.on("gap", () => location.reload());
