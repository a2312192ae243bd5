//! What is to be served as it was written: the configuration file's text, and the packages that the
//! accounts' store has beside it.

use crate::cli::adopt::{Adoption, Ready};
use crate::control::accounts::sessions::Who;
use crate::control::accounts::{Accounts, StoreError};
use crate::control::made::Standing;
use crate::control::made::plan::Stored;
use crate::pure::access::Grants;
use crate::pure::config::check::check;
use crate::pure::config::made::{Made, Merged, Wrong, beside};
use crate::pure::config::problem::{Problem, Warning};
use crate::pure::config::values::Config;

/// Both, and what makes them ready.
pub struct Books {
    /// The text that is in force.
    text: String,
    /// What the store had last.
    stored: Stored,
    /// The packages of it that are in force, or were set aside.
    adopted: Vec<Made>,
    accounts: Accounts,
    standing: Standing,
    adoption: Adoption,
}

impl Books {
    /// Opens them with the `text` that `config` was read from; what is ready to be served, which is then
    /// taken to be in force.
    ///
    /// # Errors
    /// What is wrong with files that it names.
    pub fn open(
        config: Config,
        text: String,
        adoption: Adoption,
        accounts: Accounts,
    ) -> Result<(Self, Config, Ready), Vec<Problem>> {
        let (stored, standing) = (Stored::default(), Standing::default());
        let mut books = Self { text, stored, adopted: Vec::new(), accounts, standing, adoption };
        if let Err(error) = books.read() {
            tracing::error!("packages made in the dashboard are not served: {error}");
        }
        let made = books.stored.made();
        // Said by who has checked it.
        let merged = beside((config, Vec::new()), (books.adoption.file(), &books.text), &made);
        let ready = books.ready(&merged)?;
        let config = books.adopt(None, &made, merged, &ready);
        Ok((books, config, ready))
    }

    /// The text that is in force.
    pub fn text(&self) -> String {
        self.text.clone()
    }

    /// What the store has, which is read anew.
    ///
    /// # Errors
    /// That it cannot be read; what was read last is kept.
    pub fn read(&mut self) -> Result<&Stored, StoreError> {
        self.stored = self.accounts.wait(|store| Stored::read(store))?;
        Ok(&self.stored)
    }

    /// What somebody may now, by what they came by.
    ///
    /// # Errors
    /// [`StoreError::Forbidden`] where that has ended; that it cannot be found out.
    pub fn grants(&self, who: &Who, now_s: i64) -> Result<Grants, StoreError> {
        let who = who.clone();
        self.accounts.wait(move |store| store.grants_of(&who, now_s))
    }

    /// What the store had when it was read last.
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// Whether others are in force than the store had when it was read last.
    pub fn is_behind(&self) -> bool {
        self.stored.made() != self.adopted
    }

    /// Where it is written down.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Which packages of the dashboard are served.
    pub fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// The configuration in the text that is in force, without the dashboard's packages.
    ///
    /// # Errors
    /// Never but for a defect: it was checked before.
    pub fn of_file(&self) -> Result<(Config, Vec<Warning>), Vec<Problem>> {
        check(self.adoption.file(), &self.text)
    }

    /// These packages beside `text`, or else beside that in force.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn merged(&self, text: Option<&str>, made: &[Made]) -> Result<Merged, Vec<Problem>> {
        let (file, text) = (self.adoption.file(), text.unwrap_or(&self.text));
        Ok(beside(check(file, text)?, (file, text), made))
    }

    /// What is put in force of that, of another text than before.
    ///
    /// # Errors
    /// What is wrong with files that it names.
    pub fn ready(&mut self, merged: &Merged) -> Result<Ready, Vec<Problem>> {
        self.adoption.ready(&merged.config)
    }

    /// The same beside the text in force, whose files are not read anew.
    ///
    /// # Errors
    /// The same, as long as none is in force.
    pub fn ready_again(&mut self, merged: &Merged) -> Result<Ready, Vec<Problem>> {
        self.adoption.ready_again(&merged.config)
    }

    /// What is `ready` is put in force, of this text where it is another.
    pub fn adopt(
        &mut self,
        text: Option<&str>,
        made: &[Made],
        merged: Merged,
        ready: &Ready,
    ) -> Config {
        if let Some(text) = text {
            text.clone_into(&mut self.text);
        }
        let Merged { config, aside, .. } = merged;
        let standing = Standing::of(made, &aside, &config);
        for (package, wrong) in &standing.packages {
            let is_news = self.standing.packages.get(package) != Some(wrong);
            let wrong = wrong.first().filter(|_| is_news).map(|one| one.clone().told(true));
            if let Some(Wrong { field, what, .. }) = wrong {
                tracing::warn!("{package}, made in the dashboard, is not served: {field}: {what}");
            }
        }
        self.standing = standing;
        self.adopted = made.to_vec();
        self.adoption.adopted(ready, &config);
        config
    }
}
