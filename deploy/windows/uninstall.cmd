@echo off
rem Copyright The Zastava Authors
rem SPDX-License-Identifier: Apache-2.0
rem
rem Stops and removes the service that install.cmd created. Configuration, queue, checkpoint and log stay.
setlocal EnableExtensions DisableDelayedExpansion

set "service=%ZASTAVA_SERVICE%"
if "%service%"=="" set "service=zastava"

rem net waits until the service has ended and written its state; sc does not wait. A stopped service is no error.
net stop "%service%" >nul 2>nul
sc delete "%service%"
if errorlevel 1 exit /b 1
reg delete "HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\%service%" /f >nul 2>nul
echo The service "%service%" is gone; "%ProgramData%\Zastava" stays.
exit /b 0
