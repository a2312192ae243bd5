//! Somebody at the dashboard in a real browser, by what its pages show.

use super::browser::{Browser, Screen};
use super::gate::Gate;

/// Somebody at a browser of their own.
pub struct Somebody {
    /// It.
    pub browser: Browser,
    at: String,
}

impl Somebody {
    /// At the dashboard of this gateway, and not signed in.
    pub fn before(gate: &Gate) -> Self {
        Self { browser: Browser::start(), at: format!("http://{}", gate.admin()) }
    }

    /// Goes to a page of the dashboard.
    pub fn open(&mut self, path: &str) {
        self.browser.open(&format!("{}{path}", self.at));
    }

    /// The page says one thing as its heading, is no wider than the screen, and shuts nobody out.
    pub fn is_for_everybody(&mut self, name: &str) {
        for screen in [DESK, PHONE] {
            self.browser.set_screen(screen);
            let wide = self.browser.eval("document.documentElement.scrollWidth");
            assert!(
                wide.as_u64().expect("a number") <= u64::from(screen.width),
                "{name} is {wide} wide"
            );
            assert_eq!(self.browser.eval("document.querySelectorAll('h1').length"), 1, "{name}");
            assert_eq!(self.browser.inaccessible(), "", "{name}");
        }
        self.browser.set_screen(DESK);
    }

    /// Fills fields in, each by the name of its label's field, and presses the button that says so.
    pub fn fill_in(&mut self, fields: &[(&str, &str)], button: &str) {
        for (name, value) in fields {
            let field = format!("document.querySelector('main [name={name}]')");
            let done = match *value {
                "on" => self.browser.eval(&format!("{field}.click(); {field}.checked")),
                _ => self.browser.eval(&format!("{field}.value = '{value}'; true")),
            };
            assert_eq!(done, true, "{name}");
        }
        self.press("document", button);
    }

    /// Presses the button inside of what a script finds, and waits for the page that it leads to.
    pub fn press(&mut self, inside: &str, button: &str) {
        self.browser.leave(&format!(
            "[...{inside}.querySelectorAll('main button, button')]\
               .find(it => it.textContent.trim() === '{button}').click()"
        ));
    }

    /// Waits until the page says each pull as it is counted.
    pub fn watch(&mut self) {
        self.browser.until("document.querySelector('.live').classList.contains('is-live')");
    }

    /// How many pulls the page shows.
    pub fn pulls(&mut self) -> u64 {
        let tile = self.browser.eval("document.getElementById('tile-pulls')?.textContent ?? '0'");
        let tile = tile.as_str().expect("text").replace(',', "");
        tile.trim().parse().expect("a number")
    }

    /// Where they are.
    pub fn path(&mut self) -> String {
        self.browser.eval("location.pathname").as_str().expect("text").to_owned()
    }

    /// What the page says.
    pub fn text(&mut self) -> String {
        self.browser
            .eval("document.querySelector('main').textContent")
            .as_str()
            .expect("text")
            .to_owned()
    }

    /// What it says that it is.
    pub fn heading(&mut self) -> String {
        self.browser
            .eval("document.querySelector('h1').textContent")
            .as_str()
            .expect("text")
            .to_owned()
    }
}

const DESK: Screen = Screen { width: 1200, height: 900, is_dark: false };
const PHONE: Screen = Screen { width: 360, height: 740, is_dark: true };
