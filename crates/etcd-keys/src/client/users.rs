//! Users and roles, for a program that gives another program a part of the keyspace; and calls that go on while users and
//! roles change. All but [`Connection::roles_of`] the own user needs the role `root`.

use etcd_client::{Permission, PermissionType};

use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::range::KeyRange;

/// How often a call is made while users and roles are changed.
const ATTEMPTS: u32 = 10;

impl Connection {
    /// Makes a call, and makes it again if users or roles were changed meanwhile: etcd has done nothing then. All attempts
    /// together take no longer than the request timeout.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub(crate) async fn call_again<T, F: Future<Output = Result<T, etcd_client::Error>>>(
        &self,
        operation: impl Fn() -> Operation,
        call: impl Fn() -> F,
    ) -> Result<T, Error> {
        // On the heap: unoptimised, all of it at once is too much for the stack of a test's thread.
        let attempts = async {
            for attempt in 1..ATTEMPTS {
                match Box::pin(call()).await {
                    Err(error) if ErrorKind::of(&error) == ErrorKind::UsersChanged => {}
                    answer => return answer,
                }
                // It takes the server a hash of the password. A simple token needs none.
                if attempt > 1 {
                    Box::pin(self.log_in_again()).await;
                }
            }
            Box::pin(call()).await
        };
        self.call(operation, attempts).await
    }

    /// Gets a new token, if the connection has a user. A signed one (JWT) is of no use once users or roles have changed.
    pub(crate) async fn log_in_again(&self) {
        let client = self.client();
        // If it fails, the next call says so.
        drop(tokio::time::timeout(self.request_timeout(), client.refresh_token()).await);
    }

    /// The names of all users.
    ///
    /// # Errors
    /// The errors of every request.
    pub async fn users(&self) -> Result<Vec<String>, Error> {
        let mut client = self.client();
        let answer = self.call(|| Operation::ListUsers, client.user_list()).await?;
        Ok(answer.users().to_vec())
    }

    /// The roles of a user.
    ///
    /// # Errors
    /// The errors of every request.
    pub async fn roles_of(&self, user: &str) -> Result<Vec<String>, Error> {
        let mut client = self.client();
        let answer = self.call(|| Operation::User("read", user.to_owned()), client.user_get(user)).await?;
        Ok(answer.roles().to_vec())
    }

    /// Creates a role that can read and write these keys, then a user of the same name with this role.
    ///
    /// # Errors
    /// The errors of every request. What was created before the error stays.
    pub async fn create_user_for(&self, name: &str, password: &str, keys: &KeyRange) -> Result<(), Error> {
        let mut client = self.client();
        let role = || Operation::Role("create", name.to_owned());
        let user = || Operation::User("create", name.to_owned());
        let permission = Permission::new(PermissionType::Readwrite, keys.start());
        let permission = match keys.end() {
            Some(end) => permission.with_range_end(end),
            None => permission,
        };
        self.call(role, client.role_add(name)).await?;
        self.call(role, client.role_grant_permission(name, permission)).await?;
        self.call(user, client.user_add(name, password, None)).await?;
        self.call(user, client.user_grant_role(name, name)).await?;
        Ok(())
    }

    /// Deletes a user and the role of the same name. It is no error if one of them does not exist.
    ///
    /// # Errors
    /// The errors of every request.
    pub async fn delete_user_and_role(&self, name: &str) -> Result<(), Error> {
        let mut client = self.client();
        let user = self.call(|| Operation::User("delete", name.to_owned()), client.user_delete(name)).await;
        unless_absent(user)?;
        let role = self.call(|| Operation::Role("delete", name.to_owned()), client.role_delete(name)).await;
        unless_absent(role)
    }
}

fn unless_absent<T>(deleted: Result<T, Error>) -> Result<(), Error> {
    match deleted {
        Err(error) if !error.kind.is_absent_user_or_role() => Err(error),
        _ => Ok(()),
    }
}
