for (const button of document.querySelectorAll("[data-toggle]")) {
  button.addEventListener("click", () => {
    const hidden = document.body.classList.toggle("off" + button.dataset.toggle);
    button.setAttribute("aria-pressed", String(!hidden));
  });
}
