//! A store in memory: for tests, and for servers whose sessions may end with the process.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::import::{self, Imported};
use super::stats::{Census, Count, Counted, Range, Stat, Step};
use super::users::{Account, Erased, Users};
use super::{
    Change, Changes, Expiry, Purged, ReplacedKey, Resealed, Selection, Store, StoreError, Whose,
};
use crate::session::{App, AppId, Fate, Login, OpenId, Session, SessionId, SignedIn, User, Visit};

/// A store that is gone with the process.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    apps: BTreeMap<AppId, App>,
    users: HashMap<(AppId, OpenId), Entry>,
    owners: HashMap<SessionId, (AppId, OpenId)>,
    changes: Vec<Change>,
    /// By step and start.
    stats: BTreeMap<(Step, i64), Vec<Count>>,
    /// The minutes and nodes that were added.
    counted: BTreeSet<(i64, String)>,
}

#[derive(Debug)]
struct Entry {
    user: User,
    /// Oldest login first.
    sessions: Vec<Session>,
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn session(&self, id: &SessionId) -> Option<Session> {
        let entry = self.users.get(self.owners.get(id)?)?;
        let session = entry.sessions.iter().find(|session| session.id == *id)?;
        Some(Session { user: entry.user.clone(), ..session.clone() })
    }

    fn select<'a>(&'a self, selection: &'a Selection) -> impl Iterator<Item = Session> + 'a {
        self.owners.keys().filter_map(|id| self.session(id)).filter(|session| {
            selection.appid.as_ref().is_none_or(|appid| *appid == session.appid)
                && match &selection.whose {
                    Whose::Everyone => true,
                    Whose::User(open_id) => *open_id == session.open_id,
                    Whose::Session(id) => *id == session.id,
                    Whose::Login(id, skey) => *id == session.id && *skey == session.skey,
                }
        })
    }

    fn remove(&mut self, ids: &[SessionId]) {
        for id in ids {
            if let Some(owner) = self.owners.remove(id)
                && let Some(entry) = self.users.get_mut(&owner)
            {
                entry.sessions.retain(|session| session.id != *id);
            }
            self.changes.push(Change::Session(id.clone()));
        }
    }

    fn sign_in(&mut self, login: &Login) -> SignedIn {
        let owner = (login.appid.clone(), login.open_id.clone());
        let (stored, mut sessions) = match self.users.remove(&owner) {
            Some(entry) => (Some(entry.user), entry.sessions),
            None => (None, Vec::new()),
        };
        let user = login.user(stored);
        let touched: Vec<_> = sessions.iter().map(|session| session.id.clone()).collect();
        let mut fates: Vec<_> = login.fates(touched.iter().rev()).collect();
        let mut renewed = None;
        sessions.retain(|session| {
            // The oldest is the last of them.
            let fate = fates.pop().unwrap_or(Fate::Stays);
            match fate {
                Fate::Stays => {}
                Fate::Renewed => renewed = Some(session.id.clone()),
                Fate::Ends => drop(self.owners.remove(&session.id)),
            }
            fate == Fate::Stays
        });
        let is_new = renewed.is_none();
        let id = renewed.unwrap_or_else(|| login.new_id.clone());
        sessions.push(Session {
            id: id.clone(),
            skey: login.skey.stored(),
            appid: login.appid.clone(),
            open_id: login.open_id.clone(),
            created: login.now,
            last_visit: login.now,
            user: user.clone(),
            row: 0,
        });
        let (union_id, profile) = (user.union_id.clone(), user.profile.clone());
        self.owners.insert(id.clone(), owner.clone());
        self.users.insert(owner, Entry { user, sessions });
        SignedIn { id, is_new, union_id, profile, touched }
    }
}

impl State {
    fn import(&mut self, session: Session) -> Imported {
        let owner = (session.appid.clone(), session.open_id.clone());
        let known = self.session(&session.id).map(|session| session.created);
        let entry = self.users.get(&owner);
        let logins: Vec<i64> =
            entry.iter().flat_map(|entry| &entry.sessions).map(|s| s.created).collect();
        let imported = Imported::decide(&session, known, entry.is_some(), &logins);
        if !matches!(imported, Imported::Added | Imported::Renewed) {
            return imported;
        }
        self.remove(std::slice::from_ref(&session.id));
        let user = import::user(&session, entry_user(&self.users, &owner));
        let brings_user = imported.brings_user(&session, &logins);
        self.owners.insert(session.id.clone(), owner.clone());
        let entry = self
            .users
            .entry(owner)
            .or_insert_with(|| Entry { user: user.clone(), sessions: Vec::new() });
        if brings_user {
            entry.user = user;
        }
        entry.sessions.push(Session { skey: session.skey.hashed(), ..session });
        entry.sessions.sort_by_key(|session| session.created);
        imported
    }
}

fn entry_user(users: &HashMap<(AppId, OpenId), Entry>, owner: &(AppId, OpenId)) -> Option<User> {
    users.get(owner).map(|entry| entry.user.clone())
}

/// Tells whether a user is meant, as far as appid and openid say.
fn is_meant(which: &Users, owner: &(AppId, OpenId)) -> bool {
    let (appid, open_id) = owner;
    which.appid.as_ref().is_none_or(|wanted| wanted == appid)
        && which.open_id.as_ref().is_none_or(|wanted| wanted == open_id)
        && which.after.as_ref().is_none_or(|after| after < owner)
}

#[async_trait]
impl Store for Memory {
    async fn apps(&self) -> Result<Vec<App>, StoreError> {
        Ok(self.state().apps.values().cloned().collect())
    }

    async fn put_app(&self, app: &App) -> Result<(), StoreError> {
        let mut state = self.state();
        if app.is_default {
            state.apps.values_mut().for_each(|other| other.is_default = false);
        }
        state.apps.insert(app.appid.clone(), app.clone());
        state.changes.push(Change::Apps);
        Ok(())
    }

    async fn remove_app(&self, appid: &AppId) -> Result<bool, StoreError> {
        let mut state = self.state();
        if state.apps.remove(appid).is_none() {
            return Ok(false);
        }
        state.users.retain(|(app, _), _| app != appid);
        state.owners.retain(|_, (app, _)| app != appid);
        state.changes.push(Change::Apps);
        Ok(true)
    }

    async fn session(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        Ok(self.state().session(id))
    }

    async fn sign_in(&self, login: Login) -> Result<SignedIn, StoreError> {
        Ok(self.state().sign_in(&login))
    }

    async fn replace_session_key(&self, replaced: ReplacedKey) -> Result<bool, StoreError> {
        let mut state = self.state();
        let owner = (replaced.appid.clone(), replaced.open_id.clone());
        let Some(entry) = state.users.get_mut(&owner) else { return Ok(false) };
        let Some(user) = replaced.user(entry.user.clone()) else { return Ok(false) };
        entry.user = user;
        let ids: Vec<_> = entry.sessions.iter().map(|session| session.id.clone()).collect();
        state.changes.extend(ids.into_iter().map(Change::Session));
        Ok(true)
    }

    async fn touch(&self, visits: Vec<Visit>) -> Result<(), StoreError> {
        let mut state = self.state();
        for visit in visits {
            let Some(owner) = state.owners.get(&visit.id).cloned() else { continue };
            let sessions = state.users.get_mut(&owner).map(|entry| entry.sessions.iter_mut());
            for session in sessions.into_iter().flatten() {
                if session.id == visit.id && session.skey == visit.skey {
                    session.last_visit = session.last_visit.max(visit.time);
                }
            }
        }
        Ok(())
    }

    async fn sessions(
        &self,
        selection: &Selection,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let mut found: Vec<_> = self.state().select(selection).collect();
        found.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        found.truncate(limit as usize);
        Ok(found)
    }

    async fn sessions_after(
        &self,
        selection: &Selection,
        after: &SessionId,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let state = self.state();
        let mut sessions: Vec<_> =
            state.select(selection).filter(|session| session.id > *after).collect();
        sessions.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        sessions.truncate(limit as usize);
        Ok(sessions)
    }

    async fn revoke(&self, selection: &Selection) -> Result<Vec<SessionId>, StoreError> {
        let mut state = self.state();
        let ids: Vec<_> = state.select(selection).map(|session| session.id).collect();
        state.remove(&ids);
        Ok(ids)
    }

    async fn users(&self, which: &Users, limit: u32) -> Result<Vec<Account>, StoreError> {
        let state = self.state();
        let mut users: Vec<_> =
            state.users.iter().filter(|(owner, _)| is_meant(which, owner)).collect();
        users.sort_unstable_by_key(|(owner, _)| *owner);
        let users = users.into_iter().map(|((appid, open_id), entry)| Account {
            appid: appid.clone(),
            open_id: open_id.clone(),
            union_id: entry.user.union_id.clone(),
            profile: entry.user.profile.clone(),
        });
        let has_union_id =
            |user: &Account| which.union_id.is_none() || which.union_id == user.union_id;
        Ok(users.filter(has_union_id).take(limit as usize).collect())
    }

    async fn erase(&self, appid: &AppId, open_id: &OpenId) -> Result<Erased, StoreError> {
        let mut state = self.state();
        let owner = (appid.clone(), open_id.clone());
        let Some(entry) = state.users.get(&owner) else { return Ok(Erased::default()) };
        let sessions: Vec<_> = entry.sessions.iter().map(|session| session.id.clone()).collect();
        state.remove(&sessions);
        state.users.remove(&owner);
        Ok(Erased { was_known: true, sessions })
    }

    async fn purge(&self, expiry: &[Expiry], _after: &str) -> Result<Purged, StoreError> {
        let mut state = self.state();
        let everyone = Selection { appid: None, whose: Whose::Everyone };
        let expired = |session: &Session| {
            expiry.iter().any(|e| e.holds(&session.appid, session.created, session.last_visit))
        };
        let ids: Vec<_> =
            state.select(&everyone).filter(expired).map(|session| session.id).collect();
        state.remove(&ids);
        Ok(Purged { removed: ids.len() as u64, next: None })
    }

    async fn import(&self, sessions: Vec<Session>) -> Result<Vec<Imported>, StoreError> {
        let mut state = self.state();
        Ok(sessions.into_iter().map(|session| state.import(session)).collect())
    }

    async fn reseal(&self, _after: &str) -> Result<Resealed, StoreError> {
        Ok(Resealed { changed: 0, next: None })
    }

    async fn add_stats(&self, counted: Counted) -> Result<(), StoreError> {
        let Counted { node, minute, counts } = counted;
        let mut state = self.state();
        if !state.counted.insert((minute, node)) {
            return Ok(());
        }
        for step in Step::OF_REQUESTS {
            let stored = state.stats.entry((step, step.start(minute))).or_default();
            for count in &counts {
                match stored.iter_mut().find(|other| other.is_like(count)) {
                    Some(other) => other.count += count.count,
                    None => stored.push(count.clone()),
                }
            }
            stored.sort_unstable();
        }
        Ok(())
    }

    async fn stats(&self, range: Range, limit: u32) -> Result<Vec<Stat>, StoreError> {
        let Range { step, from, to, appid } = range;
        if from >= to {
            return Ok(Vec::new());
        }
        let state = self.state();
        let stored = state.stats.range((step, from)..(step, to));
        let rows = stored.flat_map(|((_, start), counts)| {
            counts.iter().map(|count| Stat { start: *start, count: count.clone() })
        });
        let is_meant = |row: &Stat| appid.is_none() || row.count.appid == appid;
        Ok(rows.filter(is_meant).take(limit as usize).collect())
    }

    async fn census(&self, since: i64) -> Result<Vec<Census>, StoreError> {
        let state = self.state();
        let mut census = BTreeMap::<&AppId, (u64, u64)>::new();
        for ((appid, _), entry) in &state.users {
            let (users, active) = census.entry(appid).or_default();
            *users += 1;
            let is_active = entry.sessions.iter().any(|session| session.last_visit >= since);
            *active += u64::from(is_active);
        }
        let census = census.into_iter();
        Ok(census
            .map(|(appid, (users, active))| Census { appid: appid.clone(), users, active })
            .collect())
    }

    async fn keep_census(&self, day: i64, census: Vec<Census>) -> Result<(), StoreError> {
        let mut state = self.state();
        let stored = state.stats.entry((Step::Day, day)).or_default();
        for count in census.iter().flat_map(Census::counts) {
            match stored.iter_mut().find(|other| other.is_like(&count)) {
                Some(other) => other.count = other.count.max(count.count),
                None => stored.push(count),
            }
        }
        stored.sort_unstable();
        Ok(())
    }

    async fn prune_stats(&self, step: Step, before: i64) -> Result<(), StoreError> {
        let mut state = self.state();
        state.stats.retain(|(other, start), _| *other != step || *start >= before);
        if step == Step::Minute {
            state.counted.retain(|(minute, _)| *minute >= before);
        }
        Ok(())
    }

    async fn changes(&self) -> Result<Changes, StoreError> {
        Ok(Changes::These(std::mem::take(&mut self.state().changes)))
    }
}

#[cfg(test)]
mod tests {
    crate::store::contract::store_tests!((
        std::sync::Arc::new(super::super::Memory::default()),
        ()
    ));
}
