//! Every command in every odd situation that a workspace gets into, compared with one another: what they take to be
//! true, which exit code they end with, and what becomes of etcds that are not theirs. A new command needs a row, a new
//! fault a situation.

mod cell;
mod class;
mod hints;
mod rows;
mod states;
mod systems;
mod world;

use std::collections::BTreeMap;

use cell::Cell;
use class::Class;
use rows::{Concern, ROWS, Row};
use world::World;

use crate::playground::Playground;

/// Situations in which these commands, or all, are known to be wrong.
const PENDING: &[(&str, &[&str])] = &[];

/// What is true, and what commands are to say of it.
struct Situation {
    name: &'static str,
    /// A fresh one; `None` where this machine has none.
    build: fn() -> Option<World>,
    /// What is true of the instance.
    instance: Class,
    /// What is true of the cluster that keys are read from and written to, and runs are in.
    cluster: Class,
    /// Commands that find something else, or end otherwise, and rightly so.
    except: &'static [(&'static str, Class, i32)],
}

impl Situation {
    fn expected(&self, row: &Row) -> (Class, i32) {
        let is_meant = |command: &str| match row.concern {
            Concern::Nothing => command == row.line(),
            _ => command == row.name,
        };
        let special = self.except.iter().find(|(command, ..)| is_meant(command));
        let general = || {
            let class = match row.concern {
                Concern::Reaches | Concern::Runs => self.cluster,
                _ => self.instance,
            };
            (class, class.code(row))
        };
        special.map_or_else(general, |(_, class, code)| (*class, *code))
    }

    /// Runs the whole table of this situation.
    fn check(&self) {
        self.check_in(1);
    }

    /// The same with so many worlds for the commands that share them: where each command waits for an answer.
    fn check_in(&self, worlds: usize) {
        let Some(mut cells) = self.commands(worlds) else { return };
        cells.extend(self.hints(&cells));
        let is_pending = |cell: &Cell| {
            PENDING.iter().any(|(name, commands)| {
                *name == self.name && (commands.is_empty() || commands.contains(&cell.row.name))
            })
        };
        let wrong = cells.iter().any(|cell| !cell.faults.is_empty() && !is_pending(cell));
        let table = cell::table(self.name, &cells);
        assert!(!wrong, "{table}");
        println!("{table}");
    }

    /// Some commands have a world of their own, the others share so many worlds; `None` where this machine has none.
    fn commands(&self, worlds: usize) -> Option<Vec<Cell>> {
        let (alone, together): (Vec<&Row>, Vec<&Row>) = ROWS.iter().partition(|row| row.needs_its_own_world());
        let together = together.chunks(together.len().div_ceil(worlds)).map(<[&Row]>::to_vec);
        let cells = at_once(together.chain(alone.into_iter().map(|row| vec![row])), |rows| {
            let world = (self.build)()?;
            Some(rows.into_iter().map(|row| self.cell(&world, row)).collect::<Vec<_>>())
        });
        Some(cells.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn cell(&self, world: &World, row: &'static Row) -> Cell {
        let (run, faults) = world.run_row(row);
        let mut cell = Cell::of(row, run, self.expected(row));
        cell.faults.extend(faults);
        cell
    }

    /// Follows each hint that names a command, once.
    fn hints(&self, cells: &[Cell]) -> Vec<Cell> {
        let failed = cells.iter().filter(|cell| cell.run.code != Some(0));
        let hints: BTreeMap<_, _> = failed.filter_map(|cell| Some((hints::first(&cell.run)?, cell.row))).collect();
        let cells = at_once(hints, |(hint, row)| {
            let world = (self.build)()?;
            Some(Cell::of_hint(row, &hint, hints::follow(&world, row, &hint)))
        });
        cells.into_iter().flatten().collect()
    }
}

fn at_once<T: Send, R: Send>(items: impl IntoIterator<Item = T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = items.into_iter().map(|item| scope.spawn(move || work(item))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn every_command_has_its_row() {
    let help = Playground::new().xtask(&["-h"]).ok().stdout;
    let mut rows: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
    let mut listed = rows::listed(&help);
    rows.sort_unstable();
    rows.dedup();
    listed.sort_unstable();
    assert_eq!(rows, listed);
}
