@echo off
rem startetcd [DATA_PATH] [OPTION...]: the door to `cargo xtask etcd-up` that Cloud Chamber's people know.
rem -h or --help shows the options. ETCDBINPATH, ETCDINSTANCE, ETCDNODEADDR, ETCDPORTCLNT, ETCDPORTPEER and
rem ETCDDATA are obeyed. Holds no logic.
setlocal
set "first=%~1"
set "cargo=cargo run --manifest-path "%~dp0..\Cargo.toml" --package xtask --"
if not defined first goto options
if "%first:~0,1%"=="-" goto options
set "data=%~1"
set rest=
:more
shift
if "%~1"=="" goto start
set rest=%rest% %1
goto more
:start
%cargo% etcd-up --data-dir "%data%" %rest%
exit /b %errorlevel%
:options
%cargo% etcd-up %*
exit /b %errorlevel%
