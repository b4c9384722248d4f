//! What the keys of the keyboard do.

use etcd_keys::KeyRange;
use etcd_keys::text::Escaped;

use super::{Shown, View};
use crate::browse::cursor::Name;
use crate::browse::folder::Folder;
use crate::browse::keyboard::Action;
use crate::browse::listing::{Listing, Source};

/// What only the program can do.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::browse) enum Command {
    /// Ends with this exit code.
    End(u8),
    /// Starts to read the list.
    List(Source),
    /// Gives the clipboard these bytes.
    Copy(Vec<u8>),
    Delete(Name),
}

impl View {
    pub(in crate::browse) fn act(&mut self, action: Action) -> Option<Command> {
        match action {
            Action::End(code) => return Some(Command::End(code)),
            Action::Nothing => {}
            action => {
                self.message = None;
                return self.act_on_page(action);
            }
        }
        None
    }

    fn act_on_page(&mut self, action: Action) -> Option<Command> {
        if self.prompt.is_some() {
            return self.type_text(action);
        }
        if self.is_help {
            self.is_help = false;
            return None;
        }
        match action {
            Action::Char('q') => return Some(Command::End(0)),
            Action::Char('?') => self.is_help = true,
            _ if self.past.is_some() => self.act_on_past(action),
            _ if !self.lists.is_empty() => return self.act_on_list(action),
            _ => return self.act_on_folder(action),
        }
        None
    }

    fn act_on_folder(&mut self, action: Action) -> Option<Command> {
        let page = isize::try_from(self.size.1 / 2).unwrap_or(1).max(1);
        match action {
            Action::Up | Action::Char('k') if self.is_wide() => scroll(&mut self.value, -1),
            Action::Down | Action::Char('j') if self.is_wide() => scroll(&mut self.value, 1),
            Action::PageUp if self.is_wide() => scroll(&mut self.value, -page),
            Action::PageDown if self.is_wide() => scroll(&mut self.value, page),
            Action::Up | Action::Char('k') => self.folder.up(),
            Action::Down | Action::Char('j') => self.folder.down(),
            Action::PageUp => _ = self.folder.previous_page(),
            Action::PageDown => self.folder.next_page(),
            Action::Open => self.open(),
            Action::Back | Action::Stop | Action::Erase if self.is_wide() => self.set_wide(false),
            Action::Back | Action::Erase => self.leave(),
            Action::Delete | Action::Char('D') => return self.delete(),
            Action::Char('r') => self.reload(),
            Action::Char('x') => {
                self.value.iter_mut().for_each(|shown| shown.value.toggle_hex());
                self.lay_out();
            }
            Action::Char('/') => self.prompt = Some(String::new()),
            Action::Char('h') => return self.selected_range().map(|range| self.list(Source::History(range))),
            Action::Char('c') => return self.folder.selected().map(|name| Command::Copy(name.bytes.clone())),
            Action::Char('v') => return self.copy_value(),
            _ => {}
        }
        None
    }

    fn act_on_past(&mut self, action: Action) {
        let page = isize::try_from(self.size.1 / 2).unwrap_or(1).max(1);
        match action {
            Action::Up => scroll(&mut self.past_value, -1),
            Action::Down => scroll(&mut self.past_value, 1),
            Action::PageUp => scroll(&mut self.past_value, -page),
            Action::PageDown => scroll(&mut self.past_value, page),
            Action::Char('x') => {
                self.past_value.iter_mut().for_each(|shown| shown.value.toggle_hex());
                self.lay_out();
            }
            Action::Back | Action::Stop | Action::Erase => (self.past, self.past_value) = (None, None),
            _ => {}
        }
    }

    fn act_on_list(&mut self, action: Action) -> Option<Command> {
        let page = isize::try_from(self.size.1 / 2).unwrap_or(1).max(1);
        let listing = self.lists.last_mut()?;
        match action {
            Action::Up | Action::Char('k') => listing.go(-1),
            Action::Down | Action::Char('j') => listing.go(1),
            Action::PageUp => listing.go(-page),
            Action::PageDown => listing.go(page),
            Action::Stop if listing.is_reading() => listing.stop(),
            Action::Back | Action::Stop | Action::Erase => _ = self.lists.pop(),
            Action::Open => self.open_row(),
            Action::Char('r') => {
                let source = self.lists.pop()?.source;
                return Some(self.list(source));
            }
            Action::Char(' ') => {
                let revision = listing.selected().map(|row| row.revision).filter(|revision| *revision > 0);
                listing.marked = revision.filter(|revision| listing.marked != Some(*revision));
            }
            Action::Char('d') => return self.difference(),
            _ => {}
        }
        None
    }

    /// Enters a folder, or shows a value on the whole screen.
    fn open(&mut self) {
        match self.folder.selected() {
            Some(name) if name.is_folder => {
                let folder = Folder::new(name.bytes.clone(), self.folder.rows());
                self.above.push(std::mem::replace(&mut self.folder, folder));
            }
            Some(_) => self.set_wide(true),
            None => {}
        }
    }

    fn set_wide(&mut self, is_wide: bool) {
        self.is_wide = is_wide;
        self.lay_out();
    }

    /// Goes to the folder above.
    fn leave(&mut self) {
        let rows = self.folder.rows();
        if let Some(mut above) = self.above.pop() {
            above.resize(rows);
            above.reload();
            self.folder = above;
        } else if !self.folder.prefix().is_empty() {
            self.folder = Folder::around(self.folder.prefix(), rows);
        }
    }

    /// A found key is shown in its folder; a change shows the value that it left.
    fn open_row(&mut self) {
        let Some(listing) = self.listing() else { return };
        let Some(row) = listing.selected() else { return };
        match listing.source {
            Source::Search(..) | Source::Difference(..) => {
                let folder = Folder::around(&row.key, self.folder.rows());
                self.above.push(std::mem::replace(&mut self.folder, folder));
                self.lists.clear();
            }
            Source::History(_) => (self.past, self.past_value) = (Some((row.key.clone(), row.revision)), None),
        }
    }

    /// Compares the selected revision of a history with the marked one, or with now.
    fn difference(&mut self) -> Option<Command> {
        let listing = self.listing()?;
        let Source::History(range) = &listing.source else { return None };
        let (selected, range) = (listing.selected()?.revision, range.clone());
        let (before, after) = match listing.marked.filter(|marked| *marked != selected) {
            Some(marked) => (marked.min(selected), marked.max(selected)),
            None => (selected, 0),
        };
        Some(self.list(Source::Difference(range, before, after)))
    }

    fn list(&mut self, source: Source) -> Command {
        self.lists.iter_mut().filter(|listing| listing.is_reading()).for_each(Listing::stop);
        self.lists.push(Listing::new(source.clone()));
        Command::List(source)
    }

    /// The selected key, or the keys of the selected folder.
    fn selected_range(&self) -> Option<KeyRange> {
        let name = self.folder.selected()?;
        let bytes = name.bytes.clone();
        Some(if name.is_folder { KeyRange::prefix(bytes) } else { KeyRange::key(bytes) })
    }

    fn copy_value(&mut self) -> Option<Command> {
        let bytes = self.value()?.value.bytes().map(<[u8]>::to_vec);
        if bytes.is_none() {
            self.message = Some("there is no value to copy".to_owned());
        }
        bytes.map(Command::Copy)
    }

    fn delete(&mut self) -> Option<Command> {
        if !self.can_write {
            self.message = Some("browse only reads; `cargo xtask browse --write` can delete".to_owned());
            return None;
        }
        self.folder.selected().cloned().map(Command::Delete)
    }

    /// The search text.
    fn type_text(&mut self, action: Action) -> Option<Command> {
        let prompt = self.prompt.as_mut()?;
        match action {
            Action::Char(c) => prompt.push(c),
            Action::Erase => _ = prompt.pop(),
            Action::Back | Action::Stop => self.prompt = None,
            Action::Open => {
                let text = self.prompt.take().filter(|text| !text.is_empty())?;
                return match etcd_keys::text::parse(&text) {
                    Ok(bytes) => Some(self.list(Source::Search(self.folder.prefix().to_vec(), bytes))),
                    Err(error) => {
                        self.message = Some(error.to_string());
                        None
                    }
                };
            }
            _ => {}
        }
        None
    }

    /// The line that says where the list is from.
    pub(in crate::browse) fn list_title(&self) -> String {
        let Some(listing) = self.listing() else { return String::new() };
        match &listing.source {
            Source::History(range) => format!("history of {range}"),
            Source::Difference(range, before, 0) => format!("{range}: revision {before} compared with now"),
            Source::Difference(range, before, after) => format!("{range}: revision {before} compared with {after}"),
            Source::Search(folder, _) => format!("search in `{}`", Escaped(folder)),
        }
    }
}

fn scroll(shown: &mut Option<Shown>, lines: isize) {
    if let Some(shown) = shown {
        shown.scroll = shown.scroll.saturating_add_signed(lines).min(shown.lines.len().saturating_sub(1));
    }
}
