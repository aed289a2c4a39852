// The slideshow: shows the slide that is up, and asks for another one.

const SWIPE_PX = 50;

const stage = document.getElementById("stage");
const slides = [...stage.querySelectorAll(".slide")];
const dots = document.getElementById("dots");
const count = document.getElementById("count");
const back = document.getElementById("back");
const forth = document.getElementById("forth");
let up = 1;

/** `turn` is called with the slide that somebody at this window wants. */
export function arrange(turn) {
  const wish = (slide) => slide >= 1 && slide <= slides.length && slide !== up && turn(slide);
  back.addEventListener("click", () => wish(up - 1));
  forth.addEventListener("click", () => wish(up + 1));
  slides.forEach((slide, index) => {
    slide.setAttribute("role", "group");
    slide.setAttribute("aria-roledescription", "slide");
    slide.setAttribute("aria-label", `${index + 1} of ${slides.length}`);
    dots.append(dot(index + 1, wish));
  });
  addEventListener("keydown", (event) => key(event, wish));
  swipe(wish);
}

/** Puts a slide up. */
export function show(slide) {
  if (!slides[slide - 1]) return;
  up = slide;
  slides.forEach((each, index) => {
    each.classList.toggle("up", index + 1 === up);
    each.classList.toggle("past", index + 1 < up);
    each.inert = index + 1 !== up;
  });
  [...dots.children].forEach((item, index) => {
    item.firstElementChild.toggleAttribute("aria-current", index + 1 === up);
  });
  count.textContent = `${up} / ${slides.length}`;
  back.disabled = up === 1;
  forth.disabled = up === slides.length;
}

/** Fills what the slides say about this very demo. */
export function fill(facts) {
  for (const place of stage.querySelectorAll("[data-fill]")) {
    const fact = facts[place.dataset.fill];
    if (fact !== undefined) place.textContent = fact;
  }
}

function dot(slide, wish) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-label", `Slide ${slide}`);
  button.addEventListener("click", () => wish(slide));
  item.append(button);
  return item;
}

function key(event, wish) {
  if (event.target.matches("input") || event.altKey || event.ctrlKey || event.metaKey) return;
  const wanted = {
    ArrowLeft: up - 1, PageUp: up - 1, ArrowRight: up + 1, PageDown: up + 1, Home: 1, End: slides.length,
  }[event.key];
  if (wanted === undefined) return;
  event.preventDefault();
  wish(wanted);
}

function swipe(wish) {
  let from = null;
  stage.addEventListener("touchstart", (event) => { from = event.changedTouches[0]; }, { passive: true });
  stage.addEventListener("touchend", (event) => {
    const to = event.changedTouches[0];
    const [x, y] = [to.clientX - from.clientX, to.clientY - from.clientY];
    if (Math.abs(x) > SWIPE_PX && Math.abs(x) > 2 * Math.abs(y)) wish(x < 0 ? up + 1 : up - 1);
  }, { passive: true });
}
